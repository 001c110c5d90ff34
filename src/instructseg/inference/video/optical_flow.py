"""Dense optical flow between consecutive frames (DIS of OpenCV), and masks warped along it."""

from __future__ import annotations

import cv2
import numpy as np

_MAX_SIDE = 256
"""Longer side in pixels at which flow is computed; masks are compared on coarser grids."""
_MIN_SIDE = 32
"""Minimum height and width at which flow is computed; DIS needs room for its patches."""


class OpticalFlow:
    """Backward flow from each frame to the previous one; keeps one gray frame of at most 256 pixels a side."""

    def __init__(self) -> None:
        self._estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._previous: np.ndarray | None = None

    def step(self, image: np.ndarray) -> np.ndarray | None:
        """Add the next frame, RGB uint8 (height, width, 3), and return the flow to the previous frame.

        float32 (rows, columns, 2): for each pixel the displacement (x, y) to its position in the previous frame, as a
        fraction of the frame's width and height. None for the first frame. A frame of a different size is resized to
        the size of the previous one.
        """
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = _flow_size(image) if self._previous is None else self._previous.shape
        gray = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)
        previous, self._previous = self._previous, gray
        if previous is None:
            return None
        flow = self._estimator.calc(gray, previous, None)  # pyright: ignore[reportCallIssue, reportArgumentType]  the stub lacks None
        return flow / np.array((width, height), np.float32)


def warp_masks(masks: np.ndarray, flow: np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """Masks of the previous frame, warped to this frame: bool (n, rows, columns) -> bool (n, *size).

    `flow` is what `OpticalFlow.step` returned for this frame; None means no motion.
    """
    rows, columns = size
    y, x = np.mgrid[:rows, :columns].astype(np.float32) + 0.5
    displacement = np.zeros((rows, columns, 2), np.float32)
    if flow is not None:
        displacement = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA)
    source_x = (x / columns + displacement[..., 0]) * masks.shape[2] - 0.5
    source_y = (y / rows + displacement[..., 1]) * masks.shape[1] - 0.5
    warped = [cv2.remap(mask, source_x, source_y, cv2.INTER_NEAREST) for mask in masks.astype(np.uint8)]
    return np.array(warped, dtype=bool).reshape(-1, rows, columns)


def _flow_size(image: np.ndarray) -> tuple[int, int]:
    """(height, width) at which flow is computed."""
    height, width = image.shape[:2]
    scale = min(1.0, _MAX_SIDE / max(height, width))
    return max(_MIN_SIDE, round(height * scale)), max(_MIN_SIDE, round(width * scale))
