"""Logs and counters: one function per fact."""
