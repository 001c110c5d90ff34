"""Keep freed memory in the process, instead of returning it to the system after each layer of a large model."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, from glibc's malloc.h
_LIMIT = 2**30  # bytes: max free memory kept at the top of the heap, and max size of a block on the heap


def keep_freed_memory() -> bool:
    """Make glibc's allocator keep large freed blocks; return False if there is no such setting.

    Every layer of a 3B model allocates and frees blocks of tens of megabytes. By default glibc returns them to the
    system, which then zeroes every page again: up to a fifth of the time of the first prediction. The process keeps at
    most one gigabyte of freed memory. Nothing is changed with other C libraries or systems.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(_TRIM_THRESHOLD, _LIMIT), mallopt(_MMAP_THRESHOLD, _LIMIT)])
