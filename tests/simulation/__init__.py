"""Delivery, deduplication and spool under a seeded virtual clock, a fake broker and a fake disk."""
