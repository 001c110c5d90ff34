"""How well each candidate's motion between two frames agrees with the motion that the instruction describes."""

from __future__ import annotations

import cv2
import numpy as np

from instructseg.inference.video.motion_text import Motion

_DIRECTIONS: dict[Motion, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_SMALLEST_MOTION = 0.002
"""Motion per frame, as a fraction of the picture's width or height, below which the candidates count as still."""


def motion_agreement(masks: np.ndarray, flow: np.ndarray | None, motion: Motion) -> np.ndarray:
    """The agreement of each mask's motion with `motion`: bool (n, rows, columns) -> float (n,) in -1..1.

    A direction: 1 for the fastest motion among the masks if it is that direction, -1 for the opposite direction, 0
    for a mask that does not move. "still": 0 for a mask that does not move, down to -1 for the fastest. `flow` is what
    `OpticalFlow.step` returned for this frame; None means 0 for all.
    """
    if flow is None or not len(masks):
        return np.zeros(len(masks))
    moved = _own_motion(masks, flow)
    speed = np.linalg.norm(moved, axis=1)
    along = -speed if motion == "still" else moved @ np.array(_DIRECTIONS[motion])
    return along / max(_SMALLEST_MOTION, speed.max())


def _own_motion(masks: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Motion (x, y) of each mask since the previous frame, without the camera's: the median flow of the background.

    float (n, 2), as fractions of the picture's width and height.
    """
    rows, columns = masks.shape[1:]
    forward = -cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA)
    background = ~masks.any(0)
    camera = np.median(forward[background], axis=0) if background.any() else np.zeros(2)
    medians = [np.median(forward[mask], axis=0) if mask.any() else camera for mask in masks]
    return np.array(medians) - camera
