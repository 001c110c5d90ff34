"""Encode and decode COCO's run-length encoding (RLE).

A mask is scanned column by column; runs of False and True alternate, False first. Each run after the third is
stored as the difference from the run two before it, in chunks of 5 bits, lowest first, one ASCII character each
(48 + chunk, bit 0x20 = more follow, bit 0x10 of the last = negative).

pycocotools encodes. Decoding is our own, since pycocotools returns uninitialised memory for damaged counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

import numpy as np

from instructseg.errors import InputError
from instructseg.media.image import MAX_PIXELS


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """bool (height, width) -> {"size": [height, width], "counts": str}, JSON-serializable."""
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = rle["counts"].decode("ascii")  # pyright: ignore[reportAttributeAccessIssue]  # bytes; the stub says str
    return {"size": [int(side) for side in rle["size"]], "counts": counts}


def decode_rle(rle: Mapping[str, Any], size: tuple[int, int] | None = None) -> np.ndarray:
    """The inverse of `encode_rle`; `counts` may be str, bytes, or the uncompressed list of run lengths.

    `size` is the (height, width) that the mask must have; it is compared before anything is decoded. Without it, masks
    have at most MAX_PIXELS pixels.
    Raises InputError when the counts are damaged, do not add up to the size, or the size is another one or too large.
    """
    height, width = rle_size(rle)
    if size is not None and (height, width) != tuple(size):
        raise InputError(f"the mask is {(height, width)}, but the photo is {tuple(size)} (height, width)")
    if size is None and max(height * width, height, width) > MAX_PIXELS:
        raise InputError(f"expected an RLE of at most {MAX_PIXELS} pixels, got {height} x {width}")
    runs = rle_runs(rle)
    values = np.arange(runs.size) % 2 == 1
    return np.ascontiguousarray(np.repeat(values, runs).reshape(width, height).T)


def rle_size(rle: Mapping[str, Any]) -> tuple[int, int]:
    """The (height, width) that an RLE states, without decoding it. Raises InputError if it states none."""
    try:
        height, width = _whole_numbers(rle["size"]).tolist()
        rle["counts"]
        if height < 0 or width < 0:
            raise ValueError("negative size")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f'expected COCO RLE {{"size": [height, width], "counts": ...}}, got {rle!r:.80} ({error!r})'
        ) from error
    return height, width


def rle_runs(rle: Mapping[str, Any]) -> np.ndarray:
    """The run lengths (runs,), int64; no mask is made. Raises InputError unless they add up to the size."""
    height, width = rle_size(rle)
    counts, pixels = rle["counts"], height * width
    try:
        if isinstance(counts, Sized) and len(counts) > 8 * (pixels + 2):  # more than any mask needs
            raise ValueError(f"{len(counts)} of them for {pixels} pixels")
        runs = _unpack(counts) if isinstance(counts, str | bytes) else _whole_numbers(counts)
    except ValueError as error:
        raise InputError(f"expected RLE counts as text or a list of runs, got {counts!r:.80} ({error})") from error
    in_range = bool((runs >= 0).all() and (runs <= pixels).all())  # otherwise the sum could overflow
    if not in_range or runs.sum() != pixels:
        total = f"{runs.sum()} in {runs.size} runs" if in_range else "a run that is negative or longer"
        raise InputError(
            f"expected RLE counts of {height} x {width} = {pixels} pixels, got {total}; "
            "the RLE is damaged, or its size is wrong"
        )
    return runs


def _whole_numbers(values: Any) -> np.ndarray:
    """A list of whole numbers as int64 (numbers,). Raises ValueError for anything else."""
    if not isinstance(values, list | tuple | np.ndarray):
        raise ValueError(f"expected a list, got {type(values).__name__}")
    array = np.asarray(values) if len(values) else np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iuf" or bool in set(map(type, values)):
        raise ValueError("expected whole numbers")
    if not (np.abs(array) < 2**53).all() or (array != np.rint(array)).any():  # the first is also false for NaN
        raise ValueError("expected whole numbers below 2**53")
    return array.astype(np.int64)


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
