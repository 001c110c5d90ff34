"""Prediction: the masks of one instruction in one photo, with conversions to common formats."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instructseg._version import __version__
from instructseg.errors import InputError
from instructseg.media.files import make_folder
from instructseg.media.folders import unfinished_folder, write_errors
from instructseg.media.masks import mask_png, mask_to_rle, masks_to_boxes, masks_to_labels, palette_png
from instructseg.media.outputs import JSON, MASK, OVERLAY, SavedFiles, choose_stem, publish
from instructseg.media.pixels import encode_image
from instructseg.types import Task
from instructseg.visualization import overlay

if TYPE_CHECKING:
    import supervision  # pyright: ignore[reportMissingImports]  # an optional extra

_IDENTITY = ("instruction", "task", "model", "image_hash")


@dataclass(frozen=True)
class SavedPrediction(SavedFiles):
    """The files that `Prediction.save` wrote."""

    overlay: Path
    mask: Path
    json: Path


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The masks of one instruction in one photo.

    No masks, or only empty ones, mean "no target": the instruction names nothing that is in the photo.
    Raises InputError for mismatched shapes, types or order.
    """

    image: np.ndarray
    """The upright photo, RGB uint8 (height, width, 3)."""
    instruction: str
    task: Task
    masks: np.ndarray
    """bool (masks, height, width), best first."""
    scores: np.ndarray
    """float32 (masks,), descending."""
    source: str | None = None
    """Path of the photo, where known."""
    model: str | None = None
    """Name of the weights, where known."""

    def __post_init__(self) -> None:
        _expect("image", self.image, np.uint8, (None, None, 3))
        height, width = self.image.shape[:2]
        _expect("masks", self.masks, np.bool_, (None, height, width))
        _expect("scores", self.scores, np.float32, (len(self.masks),))
        if not np.isfinite(self.scores).all() or (np.diff(self.scores) > 0).any():
            raise InputError(f"expected finite scores in descending order, got {self.scores}")
        if not isinstance(self.instruction, str) or not isinstance(self.task, Task):
            given = f"{type(self.instruction).__name__} and {type(self.task).__name__}"
            raise InputError(f"expected instruction and task to be str and Task, got {given}")
        if not all(isinstance(name, str | None) for name in (self.source, self.model)):
            given = f"{type(self.source).__name__} and {type(self.model).__name__}"
            raise InputError(f"expected source and model to be str or None, got {given}")

    def __len__(self) -> int:
        """The number of masks."""
        return len(self.masks)

    def __bool__(self) -> bool:
        """Always True, even without masks; see `found`."""
        return True

    def __repr__(self) -> str:
        best = f"{self.scores[0]:.3f}" if len(self) else None
        return (
            f"Prediction(instruction={self.instruction!r}, task={self.task.value!r}, masks={len(self)}, "
            f"best_score={best}, size={self.size})"
        )

    @property
    def found(self) -> bool:
        """Whether the instruction has a target in the photo: whether any mask has a pixel."""
        return bool(self.masks.any())

    @property
    def mask(self) -> np.ndarray:
        """The union of all masks, bool (height, width); empty if there are none."""
        return np.asarray(self.masks.any(axis=0))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def boxes(self) -> np.ndarray:
        """float32 (masks, 4): xyxy pixel edges of each mask; zeros for an empty one."""
        return masks_to_boxes(self.masks)

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """The photo with masks, scores and the instruction drawn on it, RGB uint8 (height, width, 3).

        `alpha` is the opacity of the masks' tint, 0..1.
        """
        return overlay(self.image, self.masks, scores=self.scores, alpha=alpha, caption=self.instruction)

    def cutout(self) -> np.ndarray:
        """The pixels of the best mask, all others fully transparent: RGBA uint8 (height, width, 4)."""
        rgba = np.zeros((*self.size, 4), dtype=np.uint8)
        if len(self):
            inside = self.masks[0]
            rgba[inside, :3] = self.image[inside]
            rgba[inside, 3] = 255
        return rgba

    def to_coco(self, image_id: int | str | None = None, category_id: int = 1) -> list[dict[str, Any]]:
        """One COCO result per mask: segmentation (RLE), bbox (xywh, pixels), area (pixels), score and ids.

        Results without `image_id` cannot be used in COCO's evaluation.
        """
        given = {"image_id": image_id, "category_id": category_id}
        ids = {name: _plain(name, value) for name, value in given.items() if value is not None}
        return [
            {
                **ids,
                "segmentation": mask_to_rle(mask),
                "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
                "area": int(mask.sum()),
                "score": float(score),
            }
            for mask, score, (left, top, right, bottom) in zip(self.masks, self.scores, self.boxes, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """All fields except the photo's pixels, JSON-serializable; `size` is [height, width]."""
        return {
            "instruction": self.instruction,
            "task": self.task.value,
            "source": self.source,
            "size": list(self.size),
            "found": self.found,
            "scores": [float(score) for score in self.scores],
            "objects": self.to_coco(),
            "model": self.model,
            "image_hash": _image_hash(self.image),
            "package_version": __version__,
        }

    def to_supervision(self) -> supervision.Detections:
        """The masks as roboflow's `supervision.Detections` (class 0, named after the instruction)."""
        try:
            import supervision  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise InputError(f"supervision cannot be imported ({error}); run: pip install supervision") from error
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=np.zeros(len(self), dtype=int),
            data={"class_name": np.array([self.instruction] * len(self), dtype=str)},
        )

    def save(self, directory: str | Path, stem: str | None = None) -> SavedPrediction:
        """Write <stem>.overlay.png, <stem>.mask.png and <stem>.json into `directory`, which is created if needed.

        The mask file is 0/255 for one mask, and a palette PNG (i + 1 = mask i) for several. The default stem
        combines the photo's name and the instruction. A result of the same model for the same instruction and photo is
        overwritten; if another result has the stem, a number is appended.
        Raises InputError for a stem that is not a plain file name, or when the files cannot be written; then none of
        them appears.
        """
        folder, content = make_folder(directory), self.to_dict()
        stem = choose_stem(stem, self.source or "photo", [self.instruction])
        files = {
            OVERLAY: encode_image(self.overlay(), "PNG"),
            MASK: self._mask_file(),
            JSON: json.dumps(content, indent=2).encode(),
        }
        with write_errors(folder / stem), unfinished_folder(folder) as unfinished:
            staged = {ending: unfinished / ending for ending in files}
            for ending, data in files.items():
                staged[ending].write_bytes(data)
            stem = publish(folder, stem, content, _IDENTITY, staged)
        return SavedPrediction(*(folder / f"{stem}{ending}" for ending in files))

    def _mask_file(self) -> bytes:
        if len(self) > 1:
            return palette_png(masks_to_labels(self.masks))
        return mask_png(self.mask)


def _plain(name: str, value: object) -> int | str:
    """A JSON-serializable id; NumPy integers are converted."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        raise InputError(f"expected {name} to be an integer or a string, got {value!r}")
    return value


def _image_hash(image: np.ndarray) -> str:
    """Hash that distinguishes photos whose files have the same name."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).hexdigest()


def _expect(name: str, array: np.ndarray, dtype: type, shape: tuple[int | None, ...]) -> None:
    expected = f"{np.dtype(dtype)} {shape}".replace("None", "any")
    if not isinstance(array, np.ndarray):
        raise InputError(f"expected {name} to be a NumPy array {expected}, got {type(array).__name__}")
    fits = array.ndim == len(shape) and all(
        side in (None, given) for side, given in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits or (name == "image" and not array.size):
        raise InputError(f"expected {name} to be {expected}, got {array.dtype} {array.shape}")
