"""Conversations as model inputs: one per row, with labels on the assistant's tokens (L_t of Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from instructseg.errors import DataError
from instructseg.model.checks import check_frame
from instructseg.model.inputs import ModelInputs
from instructseg.model.layout import Block, PromptSpan, build_layout
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Sample


def prepare_conversations(processor: InstructSegProcessor, samples: Sequence[Sample], max_tokens: int) -> ModelInputs:
    """Photos and conversations about them; there are no reference frames and no mask tokens.

    Later turns that exceed `max_tokens` are dropped. Raises DataError if not even the first turn fits.
    """
    prompts = [[_fit_turns(processor, sample, max_tokens)] for sample in samples]
    photos = [check_frame(sample.frames[0]) for sample in samples]
    images = processor.prepare_images(photos)
    assert images.pixel_values is not None
    return ModelInputs(
        pixel_values=images.pixel_values,
        clip_pixel_values=images.clip_pixel_values,
        reference_index=torch.zeros(len(samples), 0, dtype=torch.long),
        layout=build_layout(prompts, [0] * len(samples), processor.token_counts),
        geometries=tuple(processor.image_processor.geometry(*photo.shape[:2]) for photo in photos),
    )


def _fit_turns(processor: InstructSegProcessor, sample: Sample, max_tokens: int) -> list[PromptSpan]:
    """The prompt of as many turns as fit into `max_tokens`."""
    turns = [(turn.text, turn.answer) for turn in sample.expressions]
    length = 0
    for count in range(len(turns), 0, -1):
        spans = processor.prompts.conversation(turns[:count])
        length = sum(processor.image_tokens if span.block is Block.IMAGE else len(span.ids) for span in spans)
        if length <= max_tokens:
            return spans
    raise DataError(
        f"{sample.id}: the photo and the first turn take {length} tokens, more than data.max_tokens = {max_tokens}; "
        "raise data.max_tokens"
    )
