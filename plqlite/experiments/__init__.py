"""The experiments, one story per notebook, and what they share."""
