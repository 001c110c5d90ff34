"""Which photos are held out for validation, decided by the photo's id alone, so that every run agrees."""

from __future__ import annotations

import zlib


def is_validation(photo_id: str, percent: int = 20) -> bool:
    """True for about `percent` (0..100) of all ids, the same on every machine (crc32 of the id)."""
    return zlib.crc32(photo_id.encode("utf-8")) % 100 < percent
