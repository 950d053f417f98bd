"""Benchmarks: what an event costs in the bridge, beside the least it could cost on the same machine at that moment.

Never judged by a time: pytest only looks whether they run.
"""
