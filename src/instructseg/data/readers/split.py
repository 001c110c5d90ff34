"""Which photos are kept away from training, decided by the photo's id alone so that every run agrees."""

from __future__ import annotations

import zlib


def is_validation(photo_id: str, percent: int = 20) -> bool:
    """True for about `percent` of all ids; stable over runs and machines (crc32 of the id)."""
    return zlib.crc32(photo_id.encode("utf-8")) % 100 < percent
