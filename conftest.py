"""Test the notebooks without a data set of the reader's own, which would change what they print."""

import os

os.environ.pop("PLQLITE_DATA", None)
