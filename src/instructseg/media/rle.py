"""Encode and decode COCO's run-length encoding (RLE).

A mask is scanned column by column; runs of False and True alternate, False first. Each run after the third is
stored as the difference from the run two before it, in chunks of 5 bits, lowest first, one ASCII character each
(48 + chunk, bit 0x20 = more follow, bit 0x10 of the last = negative).

pycocotools encodes. Decoding is our own, since pycocotools returns uninitialised memory for damaged counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from instructseg.errors import InputError


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """bool (height, width) -> {"size": [height, width], "counts": str}, JSON-serializable."""
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = rle["counts"].decode("ascii")  # pyright: ignore[reportAttributeAccessIssue]  # bytes; the stub says str
    return {"size": [int(side) for side in rle["size"]], "counts": counts}


def decode_rle(rle: Mapping[str, Any]) -> np.ndarray:
    """The inverse of `encode_rle`; `counts` may be str, bytes, or the uncompressed list of run lengths.

    Raises InputError when the counts are damaged or do not add up to the size.
    """
    height, width, counts = _parts(rle)
    runs = _unpack(counts) if isinstance(counts, str | bytes) else counts
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != height * width:
        raise InputError(
            f"expected RLE counts of {height} x {width} = {height * width} pixels, got {runs.sum()} in {runs.size} "
            "runs; the RLE is damaged, or its size is wrong"
        )
    values = np.arange(runs.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def _parts(rle: Mapping[str, Any]) -> tuple[int, int, Any]:
    try:
        (height, width), counts = rle["size"], rle["counts"]
        if int(height) < 0 or int(width) < 0 or not isinstance(counts, str | bytes | list | tuple):
            raise ValueError("negative size, or counts of the wrong type")
        if not isinstance(counts, str | bytes):
            counts = np.asarray(counts, dtype=np.int64)
        return int(height), int(width), counts
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'expected COCO RLE {{"size": [height, width], "counts": ...}}, got {rle!r:.80} ({error!r})'
        ) from error


def _unpack(counts: str | bytes) -> np.ndarray:
    """Compressed characters -> run lengths (runs,), int64."""
    raw = counts.encode("utf-8", "replace") if isinstance(counts, str) else counts
    codes = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if codes.size == 0:
        return codes
    if (codes < 0).any() or (codes > 63).any() or codes[-1] & 0x20:
        raise InputError(f"RLE counts {counts[:20]!r}... contain invalid characters or end early; the RLE is damaged")
    ends = np.flatnonzero(codes & 0x20 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # 35 bits: no image has such a run, and int64 must not overflow below
        raise InputError(f"RLE counts {counts[:20]!r}... contain a run of more than 35 bits; the RLE is damaged")
    position = np.arange(codes.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 0x1F) << (5 * position), starts)
    runs -= np.where(codes[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    return _undo_differences(runs)


def _undo_differences(runs: np.ndarray) -> np.ndarray:
    """Cumulative sums over runs 1, 3, 5, ... and over runs 2, 4, 6, ...; run 0 is stored as it is."""
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
