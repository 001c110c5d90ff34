"""The processor's calls in transformers' manner: images and texts in, a BatchFeature; outputs in, dicts of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import BatchFeature
from transformers.image_utils import to_numpy_array

from instructseg.errors import InputError
from instructseg.model.checks import check_frame, check_instructions, check_limits, check_text
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.image_processing import Geometry
from instructseg.model.inputs import ModelInputs
from instructseg.model.outputs import InstructSegOutput
from instructseg.prompts import guess_task
from instructseg.types import Task


def prepare_batch(
    prepare: Callable[..., ModelInputs], images: Any, text: Any, task: Task | str | None, return_tensors: Any
) -> BatchFeature:
    """What `processor(images=..., text=...)` returns, see there; `prepare` is the processor's call with frames."""
    if return_tensors not in (None, "pt"):
        raise InputError(f"expected return_tensors='pt', got {return_tensors!r}; the model reads PyTorch tensors only")
    single = not isinstance(images, list | tuple) and not (_is_array(images) and images.ndim == 4)
    photos = [images] if single else list(images)
    texts = [text] if single or isinstance(text, str) else list(text)
    if isinstance(text, str):
        texts = [text] * len(photos)
    if len(texts) != len(photos):
        raise InputError(
            f"expected one text, or one list of texts, for each image, got {len(photos)} images and {len(texts)} texts"
        )
    instructions = [[each] if isinstance(each, str) else each for each in texts]
    for row in instructions:
        check_instructions(row)
    tasks = [Task(task) if task is not None else _common_task(row) for row in instructions]
    inputs = prepare([[as_frame(photo)] for photo in photos], instructions, tasks)
    return BatchFeature({name: value for name, value in inputs.model_kwargs.items() if value is not None})


def as_frame(image: Any) -> np.ndarray:
    """RGB uint8 (height, width, 3) of a PIL image, which is turned upright, an array or a tensor.

    Arrays and tensors may have their channels first or last; float values must be in 0..1. Raises InputError.
    """
    if isinstance(image, Image.Image):
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if not _is_array(image):
        raise InputError(
            f"expected a PIL image, an array or a tensor, got {type(image).__name__}; open files with PIL.Image.open"
        )
    if isinstance(image, Tensor) and image.is_floating_point():
        image = image.float()  # NumPy has no bfloat16
    array = to_numpy_array(image)
    if array.ndim == 3 and array.shape[0] == 3 and (isinstance(image, Tensor) or array.shape[2] != 3):
        array = array.transpose(1, 2, 0)
    if np.issubdtype(array.dtype, np.floating):
        if not (array.size and array.min() >= 0 and array.max() <= 1):
            raise InputError(
                "expected float values in 0..1, got others; do not normalize the image, the processor does"
            )
        array = np.rint(array * 255).astype(np.uint8)
    return check_frame(np.ascontiguousarray(array))


def post_process(
    select: Callable[..., tuple[np.ndarray, np.ndarray]], place: Callable[[int, int], Geometry],
    outputs: InstructSegOutput, target_sizes: Any, threshold: float | None, max_masks: int | None,
    selection: str | None, config: InstructSegConfig | None,
) -> list[dict[str, Tensor]]:  # fmt: skip
    """What `processor.post_process_referring_segmentation` returns, see there.

    `select` is `processor.post_process`, `place` the placement of a photo of some height and width in the input.
    """
    check_limits(max_masks, threshold)
    assert outputs.mask_logits is not None and outputs.score_logits is not None  # forward always sets them
    logits, scores = outputs.mask_logits.detach(), outputs.score_logits.detach()
    sizes = _sizes(target_sizes, logits)
    minimum = threshold if threshold is not None else config.score_threshold if config else 0.0
    ranking = selection or (config.selection if config else "score")
    results = []
    for row, size in enumerate(sizes):
        geometry = place(*size) if target_sizes is not None else _whole(size)
        found = [
            select(
                logits[row, column], scores[row, column], geometry, ranking, max_masks, minimum,
                outputs.plural_logits is not None and bool(outputs.plural_logits[row, column] > 0),
            )
            for column in range(logits.shape[1])
        ]  # fmt: skip
        results.append({
            "masks": torch.from_numpy(np.concatenate([masks for masks, _ in found])),
            "scores": torch.from_numpy(np.concatenate([values for _, values in found])),
            "labels": torch.tensor([row for row, (masks, _) in enumerate(found) for _ in masks], dtype=torch.long),
        })  # fmt: skip
    return results


def _is_array(image: Any) -> bool:
    return isinstance(image, np.ndarray | Tensor)


def _common_task(texts: Sequence[str]) -> Task:
    for text in texts:
        check_text(text)
    tasks = {guess_task(text) for text in texts}
    if len(tasks) > 1:
        raise InputError(
            'expected the texts of one image to be all descriptions or all questions, got both; pass task="res" or '
            'task="reason_seg", or the image twice'
        )
    return tasks.pop()


def _sizes(target_sizes: Any, logits: Tensor) -> list[tuple[int, int]]:
    if target_sizes is None:
        return [(logits.shape[-2], logits.shape[-1])] * len(logits)
    sizes = [(int(height), int(width)) for height, width in target_sizes]
    if len(sizes) != len(logits):
        raise InputError(
            f"expected one target size (height, width) per image, got {len(sizes)} for {len(logits)} images"
        )
    return sizes


def _whole(size: tuple[int, int]) -> Geometry:
    """The whole square input at the proposals' own resolution."""
    return Geometry(size, size, size[0])
