"""The validation split of photos, determined by the photo's id alone so that it is the same in every run."""

from __future__ import annotations

import zlib


def is_validation(photo_id: str, percent: int = 20) -> bool:
    """True for about `percent` (0..100) of all ids, the same on every machine (crc32 of the id)."""
    return zlib.crc32(photo_id.encode("utf-8")) % 100 < percent
