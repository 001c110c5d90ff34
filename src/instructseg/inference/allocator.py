"""Keeps the memory that a large model's layers free, instead of returning it to the system after each layer."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, from glibc's malloc.h
_LIMIT = 2**30  # bytes: free memory kept on top of the heap, and size up to which a block comes from the heap


def keep_freed_memory() -> bool:
    """Make glibc's allocator keep large freed blocks; returns False where it has no such setting.

    Every layer of a 3B model allocates and frees blocks of tens of megabytes. By default glibc returns them to the
    system, which clears every page anew: up to a fifth of the time of the first prediction. The process keeps at most
    one gigabyte of freed memory. Other C libraries and other systems are left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(_TRIM_THRESHOLD, _LIMIT), mallopt(_MMAP_THRESHOLD, _LIMIT)])
