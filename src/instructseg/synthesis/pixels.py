"""Photos stored in memory, and views of them at picture size with exact masks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from instructseg.synthesis.scene import Scene, SceneObject, tight_box
from instructseg.types import InstancePhoto

_NEAR_EDGE = 0.03  # share of the longest side: an object this close to the picture's edge may be partly visible


@dataclass(frozen=True)
class StoredInstance:
    """One instance of a stored photo: its mask, uint8 0 or 255, cropped to `box` (xyxy in the stored photo)."""

    name: str
    mask: np.ndarray
    box: tuple[int, int, int, int]
    area: int
    countable: bool


@dataclass(frozen=True)
class StoredPhoto:
    """A decoded photo, RGB uint8 (height, width, 3), at working size; photos of a dataset share a vocabulary."""

    id: str
    image: np.ndarray
    instances: tuple[StoredInstance, ...]
    dataset: str = ""


@dataclass(frozen=True)
class View:
    """An axis-aligned map of stored pixels onto a picture of `size`: x -> ax * x + bx, y -> ay * y + by.

    `size` is (height, width) in pixels.
    """

    ax: float
    bx: float
    ay: float
    by: float
    size: tuple[int, int]

    @classmethod
    def of_window(cls, window: tuple[int, int, int, int], size: tuple[int, int], flip: bool) -> View:
        """The xyxy `window` of a photo at `size`; pixel centres are mapped as by cv2.resize."""
        x0, y0, x1, y1 = window
        ax, ay = size[1] / (x1 - x0), size[0] / (y1 - y0)
        bx, by = ax * (0.5 - x0) - 0.5, ay * (0.5 - y0) - 0.5
        return cls(-ax, size[1] - 1 - bx, ay, by, size) if flip else cls(ax, bx, ay, by, size)

    def mask(self, instance: StoredInstance) -> np.ndarray | None:
        """The instance's mask, bool of `size`; None when it is outside the picture."""
        x0, y0, x1, y1 = instance.box
        left, right = _span(self.ax, self.bx, x0, x1, self.size[1])
        top, bottom = _span(self.ay, self.by, y0, y1, self.size[0])
        if left >= right or top >= bottom:
            return None
        matrix = np.array([[self.ax, 0, self.ax * x0 + self.bx - left], [0, self.ay, self.ay * y0 + self.by - top]])
        patch = cv2.warpAffine(instance.mask, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR) > 127
        full = np.zeros(self.size, bool)
        full[top:bottom, left:right] = patch
        return full

    def nearly_shows(self, instance: StoredInstance) -> bool:
        """True when the instance's box reaches into the picture, or ends less than 3 % of its longest side outside."""
        x0, y0, x1, y1 = instance.box
        (left, right), (top, bottom) = _ends(self.ax, self.bx, x0, x1), _ends(self.ay, self.by, y0, y1)
        margin = _NEAR_EDGE * max(self.size)
        return right > -margin and bottom > -margin and left < self.size[1] + margin and top < self.size[0] + margin


def _ends(a: float, b: float, start: int, stop: int) -> tuple[float, float]:
    low, high = sorted((a * (start - 0.5) + b, a * (stop - 0.5) + b))
    return low, high


def _span(a: float, b: float, start: int, stop: int, limit: int) -> tuple[int, int]:
    low, high = _ends(a, b, start, stop)
    return max(0, int(np.floor(low))), min(limit, int(np.ceil(high)) + 1)


def store_photo(photo: InstancePhoto, max_side: int) -> StoredPhoto:
    """The photo shrunk to a longest side of at most `max_side` pixels, its masks cropped to their boxes."""
    scale = min(1.0, max_side / max(photo.image.shape[:2]))
    size = (max(1, round(photo.image.shape[1] * scale)), max(1, round(photo.image.shape[0] * scale)))
    image = photo.image if scale == 1 else cv2.resize(photo.image, size, interpolation=cv2.INTER_AREA)
    instances = []
    for instance in photo.instances:
        mask = instance.mask.astype(np.uint8) * 255
        if scale < 1:
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
        x0, y0, x1, y1 = box = tight_box(mask > 127)
        if x1 > x0:
            area = int(np.count_nonzero(mask > 127))
            instances.append(StoredInstance(instance.name, mask[y0:y1, x0:x1].copy(), box, area, not instance.crowd))
    return StoredPhoto(photo.id, np.ascontiguousarray(image), tuple(instances), photo.dataset)


def crop_scene(photo: StoredPhoto, window: tuple[int, int, int, int], size: tuple[int, int], flip: bool) -> Scene:
    """The xyxy `window` of a photo as a scene of `size`, with every annotated object that is visible in it."""
    x0, y0, x1, y1 = window
    method = cv2.INTER_AREA if size[0] < y1 - y0 else cv2.INTER_LINEAR
    image = cv2.resize(photo.image[y0:y1, x0:x1], (size[1], size[0]), interpolation=method)
    image = np.ascontiguousarray(image[:, ::-1]) if flip else image
    return scene_in_view(photo, View.of_window(window, size, flip), image)


def scene_in_view(photo: StoredPhoto, view: View, image: np.ndarray) -> Scene:
    """The scene of `image`, a picture that shows `photo` through `view`."""
    scene = Scene(image, [])
    for instance in photo.instances:
        mask = view.mask(instance)
        if mask is not None:
            full_area = instance.area * abs(view.ax * view.ay)
            scene.objects.append(SceneObject(instance.name, mask, full_area, instance.countable))
        elif view.nearly_shows(instance):
            scene.uncertain_nouns.add(instance.name)
    scene.drop_invisible()
    return scene


def jitter_color(image: np.ndarray, gain: np.ndarray, bias: float, saturation: float) -> np.ndarray:
    """Colour jitter: a gain per channel (3,), one offset in gray levels, and a mix with the gray picture.

    `saturation` 1 keeps the colours, 0 gives gray, above 1 strengthens them.
    """
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(image, saturation, gray, 1 - saturation, 0)
    table = np.clip(np.arange(256)[:, None] * gain[None] + bias, 0, 255).astype(np.uint8)
    return cv2.LUT(mixed, np.ascontiguousarray(table[None]))
