"""Test the notebooks without a data set of the reader's own, which would change what they print."""

import os

for name in ("PLQLITE_DATA", "PLQLITE_INPAINTED"):
    os.environ.pop(name, None)
