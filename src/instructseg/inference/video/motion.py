"""Where things of the last frame are in this one: dense optical flow (OpenCV's DIS), and masks moved along it."""

from __future__ import annotations

import cv2
import numpy as np

_LONGEST = 256  # pixels of the longer side at which motion is computed: masks are compared on coarser grids
_SMALLEST = 32  # DIS needs room for its patches


class Motion:
    """Flow from each frame back to the one before."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: np.ndarray | None = None

    def step(self, image: np.ndarray) -> np.ndarray | None:
        """Take the next frame, RGB uint8 (height, width, 3); return where its pixels were in the frame before.

        float32 (rows, columns, 2): shifts (x, y) as shares of the picture's width and height. None for the first
        frame. A frame of another size is compared at the size of the one before.
        """
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        size = self._before.shape[::-1] if self._before is not None else _small(image)
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        before, self._before = self._before, gray
        if before is None:
            return None
        return self._flow.calc(gray, before, None) / np.float32(size)


def moved(masks: np.ndarray, flow: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Masks of the frame before, bool (n, rows, columns), where `Motion.step` says their pixels went: (n, *size)."""
    rows, columns = size
    y, x = np.mgrid[:rows, :columns].astype(np.float32) + 0.5
    shift = np.zeros((rows, columns, 2), np.float32)
    if flow is not None:
        shift = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA)
    from_x = (x / columns + shift[..., 0]) * masks.shape[2] - 0.5
    from_y = (y / rows + shift[..., 1]) * masks.shape[1] - 0.5
    found = [cv2.remap(mask, from_x, from_y, cv2.INTER_NEAREST) for mask in masks.astype(np.uint8)]
    return np.array(found, dtype=bool).reshape(-1, rows, columns)


def _small(image: np.ndarray) -> tuple[int, int]:
    """(width, height) at which motion is computed."""
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST / max(height, width))
    return max(_SMALLEST, round(width * scale)), max(_SMALLEST, round(height * scale))
