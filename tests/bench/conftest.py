"""Benchmarks have all cores."""

import os

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def all_cores():
    """The other tests have one thread each, see conftest.py."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    yield
    torch.set_num_threads(before)
