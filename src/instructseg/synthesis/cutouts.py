"""Objects cut out of stored photos and pasted onto a scene with feathered edges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from instructseg.synthesis.pixels import StoredInstance, StoredPhoto
from instructseg.synthesis.scene import Scene, SceneObject


@dataclass(frozen=True)
class CutOut:
    """The pixels of one instance at pasting size.

    `image` is RGB uint8 (height, width, 3); `alpha` is its opacity, float32 (height, width), 0..1. `occluders` are the
    other annotated objects that cover parts of it, as (noun, mask bool (height, width)); they are pasted with it.
    """

    name: str
    image: np.ndarray
    alpha: np.ndarray
    occluders: tuple[tuple[str, np.ndarray], ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.alpha.shape
        return height, width


def cut_out(photo: StoredPhoto, instance: StoredInstance, size: tuple[int, int], flip: bool) -> CutOut:
    """The pixels of `instance` at `size`, feathered inwards, with the other annotated objects under its mask."""
    x0, y0, x1, y1 = instance.box
    image = _resize(photo.image[y0:y1, x0:x1], size, flip)
    mask = _resize(instance.mask, size, flip)
    soft = cv2.GaussianBlur(mask, (3, 3), 0, borderType=cv2.BORDER_CONSTANT)
    occluders = []
    for other in photo.instances:
        shared = shared_mask(instance, other) if other is not instance else None
        if shared is not None:
            occluders.append((other.name, (_resize(shared, size, flip) > 127) & (mask > 127)))
    alpha = np.minimum(mask, soft).astype(np.float32) / 255
    return CutOut(instance.name, image, np.where(mask > 127, np.maximum(alpha, 0.5), alpha), tuple(occluders))


def _resize(pixels: np.ndarray, size: tuple[int, int], flip: bool) -> np.ndarray:
    method = cv2.INTER_AREA if size[0] < pixels.shape[0] else cv2.INTER_LINEAR
    resized = cv2.resize(pixels, (size[1], size[0]), interpolation=method)
    return np.ascontiguousarray(resized[:, ::-1]) if flip else resized


def shared_mask(instance: StoredInstance, other: StoredInstance) -> np.ndarray | None:
    """The part of `other`'s mask under `instance`'s mask, in `instance`'s box; None when they do not overlap."""
    x0, y0, x1, y1 = instance.box
    left, top = max(x0, other.box[0]), max(y0, other.box[1])
    right, bottom = min(x1, other.box[2]), min(y1, other.box[3])
    if left >= right or top >= bottom:
        return None
    shared = np.zeros_like(instance.mask)
    ox, oy = other.box[:2]
    shared[top - y0 : bottom - y0, left - x0 : right - x0] = other.mask[top - oy : bottom - oy, left - ox : right - ox]
    shared[instance.mask <= 127] = 0
    return shared if (shared > 127).any() else None


def paste(scene: Scene, cutout: CutOut, x: int, y: int) -> SceneObject:
    """Paste a cut-out in front of all objects, its top left corner at (x, y); parts outside the picture are clipped.

    Objects under it lose the covered pixels. The new object and its occluders are added to the scene. If the cut-out is
    completely outside, nothing is added and the returned object has no pixels.
    """
    height, width = scene.image.shape[:2]
    rows = slice(max(0, y), min(height, y + cutout.size[0]))
    columns = slice(max(0, x), min(width, x + cutout.size[1]))
    full_area = float((cutout.alpha >= 0.5).sum())
    mask = np.zeros((height, width), bool)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return SceneObject(cutout.name, mask, full_area)
    source = (slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
    _blend(scene.image[rows, columns], cutout.image[source], cutout.alpha[source])
    mask[rows, columns] = cutout.alpha[source] >= 0.5
    for obj in scene.objects:
        if obj.mask[rows, columns].any():
            obj.cover(mask)
    pasted = SceneObject(cutout.name, mask, full_area)
    scene.objects.append(pasted)
    for name, occluder in cutout.occluders:
        occluder_mask = np.zeros((height, width), bool)
        occluder_mask[rows, columns] = occluder[source]
        scene.objects.append(SceneObject(name, occluder_mask, float(occluder.sum()), countable=False))
    scene.drop_invisible()
    return pasted


def _blend(below: np.ndarray, above: np.ndarray, alpha: np.ndarray) -> None:
    """Blend `above` over `below` in place; both uint8 (height, width, 3), `alpha` float (height, width)."""
    weight = alpha[..., None]
    below[:] = (below + (above.astype(np.float32) - below) * weight + 0.5).astype(np.uint8)
