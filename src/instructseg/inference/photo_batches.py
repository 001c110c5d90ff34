"""Several photos in one pass of each stage, in batches that fit a memory budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import torch

from instructseg.errors import InputError
from instructseg.inference.arguments import choose_task
from instructseg.inference.image_session import MAX_PACKED, ImageSession, packed_groups
from instructseg.inference.prediction import Prediction
from instructseg.model.modeling import InstructSegModel
from instructseg.model.outputs import VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

Item = TypeVar("Item")

MAX_PHOTOS = 8
"""Maximum number of photos in a batch on a GPU."""
MAX_PHOTOS_ON_CPU = 4
"""The same on a CPU, where the intermediate results of more leave the caches (docs/performance.md)."""
BATCH_BYTES = 2**30
"""Default memory budget of a batch: one gigabyte."""
VALUES_PER_PIXEL = 64
"""Rough estimate of the values per input pixel that the image encoders hold at a time."""
PROMPT_TOKENS = 64
"""Rough estimate of the number of tokens of an instruction and its prompt."""


def photos_per_batch(
    model: InstructSegModel, processor: InstructSegProcessor, instructions: int, batch_bytes: int = BATCH_BYTES
) -> int:
    """Number of photos, at least 1, whose intermediate results fit into `batch_bytes` by rough estimate.

    At most 8 on a GPU and 4 on a CPU, where more are slower. `instructions` is the number of instructions about each
    photo. Raises InputError for a budget below 1.
    """
    if not isinstance(batch_bytes, int) or isinstance(batch_bytes, bool) or batch_bytes < 1:
        raise InputError(
            f"expected batch_bytes to be an integer of at least 1, got {batch_bytes!r}; the default is {BATCH_BYTES}"
        )
    config, side, texts = model.config, processor.image_processor.side, min(instructions, MAX_PACKED)
    proposals = config.num_mask_tokens + (config.seed_config.num_seeds if config.seed_config else 0)
    masks = texts * proposals * (side // 4) ** 2 * (config.decoder_config.decoder_layers + 1)
    length = processor.image_tokens + texts * (config.num_mask_tokens + processor.frame_tokens + PROMPT_TOKENS)
    language = length * (length + 16 * config.text_config.hidden_size)
    most = MAX_PHOTOS_ON_CPU if model.device.type == "cpu" else MAX_PHOTOS
    return max(1, min(most, batch_bytes // (4 * (masks + language + side**2 * VALUES_PER_PIXEL))))


def split(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Consecutive lists of `size` items; the last may be shorter. Items are taken from the iterable as needed."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


@torch.inference_mode()
def segment_photos(
    sessions: Sequence[ImageSession], instructions: Sequence[str], task: Task | str | None = None,
    max_masks: int | None = None, threshold: float | None = None,
) -> list[list[Prediction]]:  # fmt: skip
    """Segment every photo by all instructions, in one pass; returns the predictions of each photo in turn.

    The sessions are of one model, at least one. For the other arguments and the errors see `Segmenter.segment`.
    """
    tasks = [choose_task(task, text) for text in instructions]
    visual = encode_photos(sessions)
    predictions: list[dict[int, Prediction]] = [{} for _ in sessions]
    for kind, members in packed_groups(tasks):
        rows = [[instructions[member] for member in members]] * len(sessions)
        answers = segment_rows(sessions, visual, rows, [kind] * len(sessions), max_masks, threshold)
        for found, new in zip(predictions, answers, strict=True):
            found |= zip(members, new, strict=True)
    return [[found[index] for index in range(len(tasks))] for found in predictions]


def encode_photos(sessions: Sequence[ImageSession]) -> VisualFeatures:
    """The features of all photos, in one pass of each encoder and of the pixel decoder."""
    model, processor = sessions[0].model, sessions[0].processor
    images = processor.prepare_images([session.image for session in sessions]).to(model.device, model.dtype)
    assert images.pixel_values is not None  # for the fine-grained encoder; prepared by default
    return model.encode_image(images.pixel_values, images.clip_pixel_values)


def segment_rows(
    sessions: Sequence[ImageSession], visual: VisualFeatures, rows: Sequence[Sequence[str]], tasks: Sequence[Task],
    max_masks: int | None, threshold: float | None,
) -> list[list[Prediction]]:  # fmt: skip
    """One pass of the language model and the decoder.

    Args:
        sessions: one per photo, at least one, all of one model.
        visual: the photos' features, from `encode_photos`.
        rows: the instructions of each photo.
        tasks: the task of each photo's instructions.
        max_masks: as in `Segmenter.segment`.
        threshold: as in `Segmenter.segment`.

    Returns the predictions of each photo, one per instruction.
    """
    model, processor = sessions[0].model, sessions[0].processor
    layout = processor.layout(rows, tasks, [1] * len(sessions)).to(model.device)
    references = torch.arange(len(sessions), device=model.device)[:, None]  # a photo is its own reference
    output = model.forward_from_features(visual, layout, references)
    return [
        [
            session.to_prediction(output, (row, column), text, task, max_masks, threshold)
            for column, text in enumerate(texts)
        ]
        for row, (session, texts, task) in enumerate(zip(sessions, rows, tasks, strict=True))
    ]
