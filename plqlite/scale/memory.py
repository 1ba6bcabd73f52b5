"""Memory that a process frees and needs again at once."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # names and numbers of glibc's <malloc.h>


def keep_freed_memory() -> None:
    """Have this process keep the memory that it frees, on Linux; elsewhere do nothing.

    A batch takes hundreds of megabytes, and so does the next one. glibc returns large pieces to the system,
    which clears them before it gives them out again: with SFace, that is a quarter of the time. It is for a
    process that does nothing else, such as `plqlite score`; call it before the first batch.

    Examples
    --------
    >>> keep_freed_memory()
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)  # take all from the heap
        library.mallopt(M_TRIM_THRESHOLD, -1)  # which never shrinks
