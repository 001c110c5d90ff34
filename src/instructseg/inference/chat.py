"""Questions answered in words: what the language model writes about a photo, or without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import Cache

from instructseg.errors import InputError
from instructseg.model.answers import conversation
from instructseg.model.checks import check_text
from instructseg.model.layout import Layout, Piece, build_layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures
from instructseg.model.processing import InstructSegProcessor


@dataclass(frozen=True)
class ReadPhoto:
    """What all questions about a photo share: its visual tokens, and the keys and values of the prompt up to them."""

    visual: VisualFeatures
    prefix: Cache


@torch.inference_mode()
def read_photo(model: InstructSegModel, processor: InstructSegProcessor, visual: VisualFeatures) -> ReadPhoto:
    """Read the part of the prompt before the question; `visual` needs tokens only."""
    return ReadPhoto(visual, model.read_prefix(_layout(model, processor, conversation(processor, [])), visual))


@torch.inference_mode()
def write_answer(
    model: InstructSegModel, processor: InstructSegProcessor, question: str, max_new_tokens: int,
    photo: ReadPhoto | None,
) -> str:  # fmt: skip
    """The likeliest answer, word by word; the question must have passed `check_question`."""
    pieces = conversation(processor, [(question, None)], photo=photo is not None)
    words = model.generate_text(
        _layout(model, processor, pieces), photo and photo.visual, max_new_tokens,
        stop=(processor.tokenizer.eos_token_id,), prefix=photo and photo.prefix,
    )  # fmt: skip
    return processor.tokenizer.decode(words, skip_special_tokens=True).strip()


def check_question(processor: InstructSegProcessor, question: object, max_new_tokens: object) -> None:
    """Raises InputError unless it is a question that can be read, and a number of words that can be written."""
    check_text(question, "question")
    processor.limited_ids(question, "question")
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens!r}; a whole number of at least 1 is needed")


def _layout(model: InstructSegModel, processor: InstructSegProcessor, pieces: Sequence[Piece]) -> Layout:
    return build_layout([[pieces]], [1], model.block_sizes(processor.image_tokens)).to(model.device)
