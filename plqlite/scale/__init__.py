"""Whole data sets: score a folder, resume, report, and run on Ray."""
