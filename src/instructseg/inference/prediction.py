"""What the model answers about a photo, and everything a person may want to do with it."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from instructseg import __version__
from instructseg.errors import InputError
from instructseg.media.files import make_folder, write_together
from instructseg.media.masks import (
    mask_png,
    mask_to_rle,
    masks_to_boxes,
    masks_to_labels,
    palette_png,
)
from instructseg.media.names import numbered, safe_stem, slug
from instructseg.types import Task
from instructseg.visualization import overlay

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True)
class SavedPrediction:
    """Where `Prediction.save` put its three files."""

    overlay: Path
    mask: Path
    json: Path

    def to_dict(self) -> dict[str, str]:
        return {"overlay": str(self.overlay), "mask": str(self.mask), "json": str(self.json)}


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer to one instruction about one photo.

    `image` is the upright photo, RGB uint8 (height, width, 3). `masks` are bool (masks, height, width), best first,
    with `scores` float32 (masks,). No masks at all, or only empty ones, means "no target": the instruction names
    nothing that is there. `source` is the photo's path, `model` the name of the weights, where known.
    Raises InputError when the shapes, types or order do not fit.
    """

    image: np.ndarray
    instruction: str
    task: Task
    masks: np.ndarray
    scores: np.ndarray
    source: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        _expect("image", self.image, np.uint8, (None, None, 3))
        height, width = self.image.shape[:2]
        _expect("masks", self.masks, np.bool_, (None, height, width))
        _expect("scores", self.scores, np.float32, (len(self.masks),))
        if not np.isfinite(self.scores).all() or (np.diff(self.scores) > 0).any():
            raise InputError(f"scores are {self.scores}; finite numbers, best first, were needed")
        if not isinstance(self.instruction, str) or not isinstance(self.task, Task):
            given = f"{type(self.instruction).__name__} and {type(self.task).__name__}"
            raise InputError(f"instruction and task are {given}; str and Task were needed")
        if not all(isinstance(name, str | None) for name in (self.source, self.model)):
            given = f"{type(self.source).__name__} and {type(self.model).__name__}"
            raise InputError(f"source and model are {given}; str or None were needed")

    def __len__(self) -> int:
        """The number of masks."""
        return len(self.masks)

    def __bool__(self) -> bool:
        """True, always: without this an answer of no masks would count as no answer. See `found`."""
        return True

    @property
    def found(self) -> bool:
        """Whether the instruction has a target in the photo: any pixel of any mask."""
        return bool(self.masks.any())

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the photo."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def boxes(self) -> np.ndarray:
        """float32 (masks, 4): xyxy pixel edges of each mask; zeros for an empty one."""
        return masks_to_boxes(self.masks)

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """The photo with masks, scores and the instruction drawn on it: RGB uint8 (height, width, 3)."""
        return overlay(self.image, self.masks, scores=self.scores, alpha=alpha, caption=self.instruction)

    def cutout(self) -> np.ndarray:
        """The best mask's pixels, everything else fully transparent: RGBA uint8 (height, width, 4)."""
        rgba = np.zeros((*self.size, 4), dtype=np.uint8)
        if len(self):
            inside = self.masks[0]
            rgba[inside, :3] = self.image[inside]
            rgba[inside, 3] = 255
        return rgba

    def to_coco(self, image_id: int | str | None = None, category_id: int = 1) -> list[dict[str, Any]]:
        """One COCO result for each mask: segmentation (RLE), bbox (xywh), area, score and ids.

        `image_id` is left out when not given; COCO's evaluation needs it.
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
        """Everything but the photo's pixels, as JSON can hold it; `size` is [height, width]."""
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
            import supervision
        except ImportError as error:
            raise InputError(f"supervision cannot be imported ({error}); pip install supervision") from error
        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=np.zeros(len(self), dtype=int),
            data={"class_name": np.array([self.instruction] * len(self), dtype=str)},
        )

    def save(self, directory: str | Path, stem: str | None = None) -> SavedPrediction:
        """Write <stem>.overlay.png, <stem>.mask.png and <stem>.json into `directory`, which is created.

        The mask file is 0/255 for one mask, and a palette PNG (i + 1 = mask i) for several. The default stem is
        made of the photo's name and the instruction. Where another answer already has that stem, a number is added;
        an earlier answer of the same model to the same question about the same photo is replaced.
        Raises InputError for a stem with a path in it, or when the files cannot be written: then there is none of them.
        """
        folder, answer = make_folder(directory), self.to_dict()
        stem = numbered(self._stem(stem), lambda name: _is_free(folder, name, answer))
        paths = SavedPrediction(*(folder / f"{stem}{end}" for end in (".overlay.png", ".mask.png", ".json")))
        mask = palette_png(masks_to_labels(self.masks)) if len(self) > 1 else mask_png(self.masks.any(axis=0))
        text = json.dumps(answer, indent=2).encode()
        write_together({paths.overlay: _png(self.overlay()), paths.mask: mask, paths.json: text})
        return paths

    def _stem(self, given: str | None) -> str:
        if given is None:
            return f"{safe_stem(self.source or 'photo')}.{slug(self.instruction)}"
        if not given or safe_stem(f"{given}.x") != given:
            raise InputError(f"stem {given!r} cannot name a file; give a plain name without folders or special letters")
        return given


def _plain(name: str, value: object) -> int | str:
    """An id as JSON can hold it; NumPy's integers are none to JSON."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        raise InputError(f"{name} is {value!r}; a whole number or a string was needed")
    return value


_SAME_QUESTION = ("instruction", "task", "model", "image_hash")


def _is_free(folder: Path, stem: str, answer: dict[str, Any]) -> bool:
    """Whether `stem` is unused, or used by an earlier answer to the same question."""
    path = folder / f"{stem}.json"
    others = (folder / f"{stem}{end}" for end in (".overlay.png", ".mask.png"))
    if not path.exists():
        return not any(other.exists() for other in others)
    try:
        earlier = json.loads(path.read_bytes())
        return all(earlier[key] == answer[key] for key in _SAME_QUESTION)
    except (OSError, ValueError, KeyError, TypeError):  # not a file of ours: keep it
        return False


def _image_hash(image: np.ndarray) -> str:
    """Tells photos apart whose files have the same name."""
    return hashlib.blake2b(np.ascontiguousarray(image), digest_size=8).hexdigest()


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _expect(name: str, array: np.ndarray, dtype: type, shape: tuple[int | None, ...]) -> None:
    wanted = f"{np.dtype(dtype)} {shape}".replace("None", "any")
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} is {type(array).__name__}; a NumPy array {wanted} was needed")
    fits = array.ndim == len(shape) and all(
        side in (None, given) for side, given in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits or (name == "image" and not array.size):
        raise InputError(f"{name} is {array.dtype} {array.shape}; {wanted} was needed")
