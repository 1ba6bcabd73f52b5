"""Float32 in full on every device, so that a GPU gives the numbers of a CPU."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Have a GPU compute convolutions and matrix products in full float32; then leave torch as it was.

    By default torch rounds what enters a convolution to 10 bits (TF32) where the GPU can: it takes half the
    time, and moves Q by 1e-5 and maps by 4 %.

    Examples
    --------
    >>> with full_precision():
    ...     product = torch.rand(2, 2) @ torch.rand(2, 2)
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    full: object
    if hasattr(cudnn, "conv"):  # since torch 2.9, which refuses to mix the two ways
        places, name, full = [cudnn.conv, matmul], "fp32_precision", "ieee"
    else:
        places, name, full = [cudnn, matmul], "allow_tf32", False
    before = [getattr(each, name) for each in places]
    try:
        for each in places:
            setattr(each, name, full)
        yield
    finally:
        for each, value in zip(places, before, strict=True):
            setattr(each, name, value)
