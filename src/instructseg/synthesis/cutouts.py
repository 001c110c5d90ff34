"""Real objects cut out of stored photos and pasted, feathered, onto a scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from instructseg.synthesis.pixels import Piece, StoredPhoto
from instructseg.synthesis.scene import Scene, Thing


@dataclass(frozen=True)
class CutOut:
    """Real pixels of one instance at pasting size: RGB uint8, opacity 0..1 and what rides on it (name, mask)."""

    name: str
    image: np.ndarray
    alpha: np.ndarray
    riders: tuple[tuple[str, np.ndarray], ...]

    @property
    def size(self) -> tuple[int, int]:
        return self.alpha.shape  # type: ignore[return-value]


def cut_out(photo: StoredPhoto, piece: Piece, size: tuple[int, int], flip: bool) -> CutOut:
    """Cut `piece` out at `size`, feathered inwards; other annotated things under its mask come along as riders."""
    x0, y0, x1, y1 = piece.box
    image = _fit(photo.image[y0:y1, x0:x1], size, flip)
    mask = _fit(piece.mask, size, flip)
    soft = cv2.GaussianBlur(mask, (3, 3), 0, borderType=cv2.BORDER_CONSTANT)
    riders = []
    for other in photo.pieces:
        shared = shared_mask(piece, other) if other is not piece else None
        if shared is not None:
            riders.append((other.name, (_fit(shared, size, flip) > 127) & (mask > 127)))
    alpha = np.minimum(mask, soft).astype(np.float32) / 255
    return CutOut(piece.name, image, np.where(mask > 127, np.maximum(alpha, 0.5), alpha), tuple(riders))


def _fit(pixels: np.ndarray, size: tuple[int, int], flip: bool) -> np.ndarray:
    method = cv2.INTER_AREA if size[0] < pixels.shape[0] else cv2.INTER_LINEAR
    fitted = cv2.resize(pixels, (size[1], size[0]), interpolation=method)
    return np.ascontiguousarray(fitted[:, ::-1]) if flip else fitted


def shared_mask(piece: Piece, other: Piece) -> np.ndarray | None:
    """`other`'s mask within `piece`'s box and under its mask; None when they do not meet."""
    x0, y0, x1, y1 = piece.box
    left, top = max(x0, other.box[0]), max(y0, other.box[1])
    right, bottom = min(x1, other.box[2]), min(y1, other.box[3])
    if left >= right or top >= bottom:
        return None
    shared = np.zeros_like(piece.mask)
    ox, oy = other.box[:2]
    shared[top - y0 : bottom - y0, left - x0 : right - x0] = other.mask[top - oy : bottom - oy, left - ox : right - ox]
    shared[piece.mask <= 127] = 0
    return shared if (shared > 127).any() else None


def paste(scene: Scene, cutout: CutOut, x: int, y: int) -> Thing:
    """Put a cut-out in front of everything with its corner at (x, y); parts outside the picture are cut off.

    Things under it lose the covered pixels; the new thing and its riders join the scene.
    """
    height, width = scene.image.shape[:2]
    rows = slice(max(0, y), min(height, y + cutout.size[0]))
    columns = slice(max(0, x), min(width, x + cutout.size[1]))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return Thing(cutout.name, np.zeros((height, width), bool), float((cutout.alpha >= 0.5).sum()))
    source = (slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
    blend(scene.image[rows, columns], cutout.image[source], cutout.alpha[source])
    mask = np.zeros((height, width), bool)
    mask[rows, columns] = cutout.alpha[source] >= 0.5
    for thing in scene.things:
        if thing.mask[rows, columns].any():
            thing.cover(mask)
    thing = Thing(cutout.name, mask, float((cutout.alpha >= 0.5).sum()))
    scene.things.append(thing)
    for name, rider in cutout.riders:
        full = np.zeros((height, width), bool)
        full[rows, columns] = rider[source]
        scene.things.append(Thing(name, full, float(rider.sum()), countable=False))
    scene.drop_invisible()
    return thing


def blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> None:
    """Lay `above` over `below` in place."""
    weight = alpha[..., None]
    below[:] = (below + (above.astype(np.float32) - below) * weight + 0.5).astype(np.uint8)
