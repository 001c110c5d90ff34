"""Memory that a large model's layers use over and over, kept instead of returned to the system after each."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
_KEPT = 2**30  # bytes of free memory on top of the heap, and the size of a block up to which it comes from the heap


def keep_freed_memory() -> bool:
    """Tell the C library's allocator not to give large freed blocks back; False where it has no such setting.

    Every layer of a 3B model takes and frees blocks of tens of megabytes. glibc returns them each time, and the system
    clears every page anew: up to a fifth of the first answer's time. Costs at most a gigabyte of freed memory that
    the process keeps. Other C libraries and other systems are left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(_TRIM_THRESHOLD, _KEPT), mallopt(_MMAP_THRESHOLD, _KEPT)])
