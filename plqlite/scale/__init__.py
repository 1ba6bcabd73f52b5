"""Whole data sets: score a folder, resume, report, and run on Ray."""

from plqlite.scale.runner import score
from plqlite.scale.shards import read_rows

__all__ = ["read_rows", "score"]
