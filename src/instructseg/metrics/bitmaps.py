"""Bool frames packed into 64-bit words, for fast counting, shifting and dilation in contour scores.

A frame of 854 x 480 pixels has 6,720 words, so a pass over a mask takes microseconds. Words are stored column by
column: axis 0 is the frame's width in steps of 64 pixels (bit 0 is the leftmost), axis 1 its height.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

WORD = np.dtype("<u8")
BITS = 64


@dataclass(frozen=True)
class Bitmap:
    """A bool frame that is False outside of `words` (columns of 64 pixels, rows).

    Its first word is column `left` (counted in words) and row `top` of the frame; both may be negative.
    """

    left: int
    top: int
    words: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> Bitmap:
        """Pack bool (height, width), cropped to the words and rows with True pixels."""
        height, width = mask.shape
        packed = np.zeros((height, -(-width // BITS) * WORD.itemsize), np.uint8)
        packed[:, : -(-width // 8)] = np.packbits(mask, axis=1, bitorder="little")
        words = packed.view(WORD).T
        columns = np.flatnonzero(np.bitwise_or.reduce(words, axis=1))
        if columns.size == 0:
            return cls(0, 0, np.zeros((0, 0), WORD))
        left, right = int(columns[0]), int(columns[-1]) + 1
        rows = np.flatnonzero(np.bitwise_or.reduce(words[left:right], axis=0))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        return cls(left, top, np.ascontiguousarray(words[left:right, top:bottom]))

    @cached_property
    def area(self) -> int:
        """Number of True pixels."""
        return int(np.bitwise_count(self.words).sum(dtype=np.int64))

    def overlap(self, other: Bitmap) -> int:
        """Number of pixels that are True in both frames."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.words.shape[0], other.left + other.words.shape[0])
        bottom = min(self.top + self.words.shape[1], other.top + other.words.shape[1])
        if right <= left or bottom <= top:
            return 0
        mine, theirs = (
            bitmap.words[left - bitmap.left : right - bitmap.left, top - bitmap.top : bottom - bitmap.top]
            for bitmap in (self, other)
        )
        return int(np.bitwise_count(mine & theirs).sum(dtype=np.int64))

    def boundary(self, size: tuple[int, int]) -> Bitmap:
        """Pixels that differ from their right, lower or lower-right neighbour in a frame of `size` (height, width).

        A neighbour outside the frame does not differ; that is DAVIS's rule for the last row and column.
        """
        if self.words.size == 0:
            return self
        # The boundary extends one pixel to the left and up; one row below is needed for comparison.
        left, top = max(0, self.left - 1), max(0, self.top - 1)
        bottom = min(size[0], self.top + self.words.shape[1] + 1)
        words = self._on((self.left - left + self.words.shape[0], bottom - top), left, top)
        right = words >> 1
        right[:-1] |= words[1:] << (BITS - 1)
        has_right_neighbour = _columns_before(size[1] - 1)[left : left + len(words), None]
        edges = (words ^ right) & has_right_neighbour
        edges[:, :-1] |= words[:, :-1] ^ words[:, 1:]
        edges[:, :-1] |= (words[:, :-1] ^ right[:, 1:]) & has_right_neighbour
        return Bitmap(left, top, edges)

    def dilate(self, radius: int) -> Bitmap:
        """Pixels at most `radius` pixels (Euclidean) from a True pixel; they may lie outside the frame.

        A digital disk is a union of centred rectangles. From the narrowest (and highest) to the widest, rows are
        widened incrementally, and the union so far is heightened by the difference in height.
        """
        if self.words.size == 0:
            return self
        margin = -(-radius // BITS)
        columns, rows = self.words.shape
        left, top = self.left - margin, self.top - radius
        wide = self._on((columns + 2 * margin, rows + 2 * radius), left, top)
        (reach, height), *others = disk_rectangles(radius)
        union = wide
        for half_width, half_height in others:
            wide = _widened(wide, reach, half_width)
            union = _heightened(union, height - half_height) | wide
            reach, height = half_width, half_height
        return Bitmap(left, top, union)

    def _on(self, shape: tuple[int, int], left: int, top: int) -> np.ndarray:
        """The words in a larger array of `shape` (columns, rows) whose first word is (left, top)."""
        canvas = np.zeros(shape, WORD)
        column, row = self.left - left, self.top - top
        canvas[column : column + self.words.shape[0], row : row + self.words.shape[1]] = self.words
        return canvas


@lru_cache
def disk_rectangles(radius: int) -> tuple[tuple[int, int], ...]:
    """(half width, half height) of the rectangles whose union is the disk, the narrowest first."""
    half_widths = [math.isqrt(radius * radius - row * row) for row in range(radius + 1)]
    highest = {half_width: row for row, half_width in enumerate(half_widths)}
    return tuple(sorted(highest.items()))


@lru_cache
def _columns_before(width: int) -> np.ndarray:
    """Words of a row whose first `width` pixels are True, followed by a word of False."""
    row = np.zeros((width // BITS + 2) * BITS, bool)
    row[:width] = True
    return np.packbits(row, bitorder="little").view(WORD)


def _widened(words: np.ndarray, reach: int, goal: int) -> np.ndarray:
    """Runs of 2 * reach + 1 pixels -> runs of 2 * goal + 1, as far as the canvas goes."""
    while reach < goal:
        step = min(2 * reach + 1, goal - reach, BITS - 1)  # a longer step would leave a gap
        wider = words << step
        wider |= words >> step
        wider |= words
        wider[1:] |= words[:-1] >> (BITS - step)
        wider[:-1] |= words[1:] << (BITS - step)
        words, reach = wider, reach + step
    return words


def _heightened(words: np.ndarray, goal: int) -> np.ndarray:
    """Each True pixel -> itself and `goal` more above and below; that many rows of the canvas must be empty there.

    Columns are contiguous in memory and the empty rows separate them, so that all are shifted as one long row.
    """
    reach, column = 0, words.ravel()
    while reach < goal:
        step = min(2 * reach + 1, goal - reach)
        higher = column.copy()
        higher[step:] |= column[:-step]
        higher[:-step] |= column[step:]
        column, reach = higher, reach + step
    return column.reshape(words.shape)
