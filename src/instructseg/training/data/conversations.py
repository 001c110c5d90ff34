"""Conversations as model inputs: the whole of each in one row, labels on what the assistant says (L_t of Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from instructseg.errors import DataError
from instructseg.model.answers import conversation
from instructseg.model.checks import check_frame
from instructseg.model.layout import Block, BlockSizes, Piece, build_layout
from instructseg.model.processing import InstructSegProcessor, ModelInputs
from instructseg.types import Sample


def prepare_talk(processor: InstructSegProcessor, samples: Sequence[Sample], max_tokens: int) -> ModelInputs:
    """Photos and conversations about them; there are no references and no mask tokens.

    Later turns that do not fit into `max_tokens` are left out. Raises DataError when not even the first one fits.
    """
    prompts = [[_fitting(processor, sample, max_tokens)] for sample in samples]
    photos = [check_frame(sample.frames[0]) for sample in samples]
    images = processor.image_processor
    fine, clip = [images.prepare(photo) for photo in photos], images.clip_side
    sizes = BlockSizes(processor.image_tokens, processor.frame_tokens, processor.mask_tokens)
    return ModelInputs(
        pixel_values=torch.stack(fine),
        clip_pixel_values=clip and torch.stack([images.prepare_clip(photo) for photo in photos]),
        reference_index=torch.zeros(len(samples), 0, dtype=torch.long),
        layout=build_layout(prompts, [0] * len(samples), sizes),
        geometries=tuple(images.geometry(*photo.shape[:2]) for photo in photos),
    )


def _fitting(processor: InstructSegProcessor, sample: Sample, max_tokens: int) -> list[Piece]:
    """The pieces of as many turns as fit."""
    turns = [(turn.text, turn.answer) for turn in sample.expressions]
    for count in range(len(turns), 0, -1):
        pieces = conversation(processor, turns[:count])
        length = sum(processor.image_tokens if piece.block is Block.IMAGE else len(piece.ids) for piece in pieces)
        if length <= max_tokens:
            return pieces
    raise DataError(f"{sample.id}: its first turn and the photo take {length} tokens; data.max_tokens is {max_tokens}")
