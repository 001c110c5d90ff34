"""Stored photos, and crops of them at picture size with exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from instructseg.synthesis.scene import Scene, Thing, tight_box
from instructseg.types import InstancePhoto


@dataclass(frozen=True)
class Piece:
    """One instance of a stored photo: its mask uint8 0/255, cut to its box (xyxy in the stored photo)."""

    name: str
    mask: np.ndarray
    box: tuple[int, int, int, int]
    area: int
    countable: bool


@dataclass(frozen=True)
class StoredPhoto:
    """A decoded photo kept in memory at working size."""

    id: str
    image: np.ndarray
    pieces: tuple[Piece, ...]
    dataset: str = ""


@dataclass(frozen=True)
class View:
    """An axis-aligned map of stored pixels onto a picture of `size`: x -> ax * x + bx, y -> ay * y + by."""

    ax: float
    bx: float
    ay: float
    by: float
    size: tuple[int, int]

    @classmethod
    def of_window(cls, window: tuple[int, int, int, int], size: tuple[int, int], flip: bool) -> View:
        """Show the xyxy `window` at `size`; pixel centres are mapped as cv2.resize maps them."""
        x0, y0, x1, y1 = window
        ax, ay = size[1] / (x1 - x0), size[0] / (y1 - y0)
        bx, by = ax * (0.5 - x0) - 0.5, ay * (0.5 - y0) - 0.5
        return cls(-ax, size[1] - 1 - bx, ay, by, size) if flip else cls(ax, bx, ay, by, size)

    def mask(self, piece: Piece) -> np.ndarray | None:
        """The piece's mask, bool of `size`; None when it lies outside."""
        x0, y0, x1, y1 = piece.box
        left, right = _span(self.ax, self.bx, x0, x1, self.size[1])
        top, bottom = _span(self.ay, self.by, y0, y1, self.size[0])
        if left >= right or top >= bottom:
            return None
        matrix = np.array([[self.ax, 0, self.ax * x0 + self.bx - left], [0, self.ay, self.ay * y0 + self.by - top]])
        patch = cv2.warpAffine(piece.mask, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR) > 127
        full = np.zeros(self.size, bool)
        full[top:bottom, left:right] = patch
        return full

    def nearly_shows(self, piece: Piece) -> bool:
        """True when the piece's box lies within 3 % of the picture's edge, inside or outside."""
        x0, y0, x1, y1 = piece.box
        (left, right), (top, bottom) = _ends(self.ax, self.bx, x0, x1), _ends(self.ay, self.by, y0, y1)
        margin = 0.03 * max(self.size)
        return right > -margin and bottom > -margin and left < self.size[1] + margin and top < self.size[0] + margin


def _ends(a: float, b: float, start: int, stop: int) -> tuple[float, float]:
    low, high = sorted((a * (start - 0.5) + b, a * (stop - 0.5) + b))
    return low, high


def _span(a: float, b: float, start: int, stop: int, limit: int) -> tuple[int, int]:
    low, high = _ends(a, b, start, stop)
    return max(0, int(np.floor(low))), min(limit, int(np.ceil(high)) + 1)


def store(photo: InstancePhoto, max_side: int) -> StoredPhoto:
    """Shrink to `max_side` and cut the masks to their boxes."""
    scale = min(1.0, max_side / max(photo.image.shape[:2]))
    size = (max(1, round(photo.image.shape[1] * scale)), max(1, round(photo.image.shape[0] * scale)))
    image = photo.image if scale == 1 else cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA)
    pieces = []
    for instance in photo.instances:
        mask = instance.mask.astype(np.uint8) * 255
        if scale < 1:
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        x0, y0, x1, y1 = box = tight_box(mask > 127)
        if x1 > x0:
            area = int(np.count_nonzero(mask > 127))
            pieces.append(Piece(instance.name, mask[y0:y1, x0:x1].copy(), box, area, not instance.crowd))
    return StoredPhoto(photo.id, np.ascontiguousarray(image), tuple(pieces), photo.dataset)


def show(photo: StoredPhoto, window: tuple[int, int, int, int], size: tuple[int, int], flip: bool) -> Scene:
    """The xyxy `window` of a photo as a scene of `size`, with every annotated thing that is visible in it."""
    x0, y0, x1, y1 = window
    method = cv2.INTER_AREA if size[0] < y1 - y0 else cv2.INTER_LINEAR
    image = cv2.resize(photo.image[y0:y1, x0:x1], (size[1], size[0]), interpolation=method)
    return things_in(photo, View.of_window(window, size, flip), np.ascontiguousarray(image[:, ::-1]) if flip else image)


def things_in(photo: StoredPhoto, view: View, image: np.ndarray) -> Scene:
    """The scene of a picture that shows `photo` through `view`."""
    scene = Scene(image, [])
    for piece in photo.pieces:
        mask = view.mask(piece)
        if mask is not None:
            whole = piece.area * abs(view.ax * view.ay)
            scene.things.append(Thing(piece.name, mask, whole, piece.countable))
        elif view.nearly_shows(piece):
            scene.doubtful.add(piece.name)
    scene.drop_invisible()
    return scene


def tint(image: np.ndarray, gain: np.ndarray, bias: float, saturation: float) -> np.ndarray:
    """Mild colour jitter: a gain for each channel, one offset, and a mix with the gray picture."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(image, saturation, gray, 1 - saturation, 0)
    table = np.clip(np.arange(256)[:, None] * gain[None] + bias, 0, 255).astype(np.uint8)
    return cv2.LUT(mixed, np.ascontiguousarray(table[None]))
