"""Answer questions in text, about a photo or without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import Cache

from instructseg.errors import InputError
from instructseg.model.checks import check_text
from instructseg.model.layout import Layout, PromptSpan, build_layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures
from instructseg.model.processing import InstructSegProcessor


@dataclass(frozen=True)
class PhotoContext:
    """Shared by all questions about a photo: its visual tokens, and the cached prompt up to and including them."""

    visual: VisualFeatures
    prefix: Cache


@torch.inference_mode()
def prefill_photo(model: InstructSegModel, processor: InstructSegProcessor, visual: VisualFeatures) -> PhotoContext:
    """Run the language model over the prompt before the question; `visual` needs its tokens only."""
    layout = _layout(model, processor, processor.prompts.conversation([]))
    return PhotoContext(visual, model.read_prefix(layout, visual))


@torch.inference_mode()
def generate_answer(
    model: InstructSegModel, processor: InstructSegProcessor, question: str, max_new_tokens: int,
    photo: PhotoContext | None,
) -> str:  # fmt: skip
    """The answer by greedy decoding, at most `max_new_tokens` tokens; call `check_question` first."""
    spans = processor.prompts.conversation([(question, None)], photo=photo is not None)
    tokens = model.generate_text(
        _layout(model, processor, spans), photo and photo.visual, max_new_tokens,
        stop=(processor.tokenizer.eos_token_id,), prefix=photo and photo.prefix,
    )  # fmt: skip
    return processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()


def check_question(processor: InstructSegProcessor, question: str, max_new_tokens: int) -> None:
    """Raises InputError unless the question is a non-empty string of at most 512 tokens and `max_new_tokens` >= 1."""
    check_text(question, "question")
    processor.prompts.limited_ids(question, "question")
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(
            f"expected max_new_tokens to be an integer of at least 1, got {max_new_tokens!r}; the default is 128"
        )


def _layout(model: InstructSegModel, processor: InstructSegProcessor, spans: Sequence[PromptSpan]) -> Layout:
    return build_layout([[spans]], [1], processor.token_counts).to(model.device)
