"""Pixels of a decoded video frame as a player displays them: RGB, upright, on white."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from instructseg.media.pixels import array_to_rgb

if TYPE_CHECKING:
    from av import VideoFrame

HD_WIDTH, HD_HEIGHT = 1280, 577
"""Frames without a colour matrix tag are BT.709 from this width or height on, else BT.601, as in players."""

_UNTAGGED = {2, 3}  # AVColorSpace: unspecified, reserved


def to_rgb(frame: VideoFrame) -> np.ndarray:
    """A decoded frame as displayed: RGB uint8 (height, width, 3), upright, transparency blended with white."""
    transparent = any(part.is_alpha for part in frame.format.components)
    matrix = "itu709" if _is_untagged_hd(frame) else None  # None: the frame's tag
    pixels = frame.to_ndarray(format="rgba" if transparent else "rgb24", src_colorspace=matrix)
    return array_to_rgb(_upright(pixels, _display_matrix(frame)))


def _is_untagged_hd(frame: VideoFrame) -> bool:
    is_hd = frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT
    return is_hd and frame.colorspace in _UNTAGGED and not frame.format.is_rgb


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d) of the display matrix: displayed x = a x + c y, displayed y = b x + d y; y points down."""
    from av.sidedata.sidedata import Type

    # PyAV's stub declares string keys only; the container also accepts members of Type.
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # pyright: ignore[reportCallIssue, reportArgumentType]
    if data is None:
        return 1, 0, 0, 1
    matrix = np.frombuffer(data, dtype=np.int32, count=9)
    a, b, c, d = (int(value) for value in np.sign(matrix[[0, 1, 3, 4]]))
    if abs(a * d - b * c) != 1 or a * b != 0:  # not a rotation by a multiple of 90 degrees: keep as stored
        return 1, 0, 0, 1
    return a, b, c, d


def _upright(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    a, b, c, d = matrix
    if a == 0:
        return pixels.transpose(1, 0, 2)[:: b or 1, :: c or 1]
    return pixels[:: d or 1, :: a or 1]
