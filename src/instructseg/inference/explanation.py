"""An explanation in words and the masks that belong to it: text generation up to [SEG], then the mask tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import Cache

from instructseg.errors import InputError
from instructseg.inference.chat import decode_pieces
from instructseg.inference.prediction import Prediction
from instructseg.model.generation import GrowingRow
from instructseg.model.layout import build_layout
from instructseg.model.modeling import InstructSegModel
from instructseg.model.outputs import InstructSegOutput, LanguageModelOutput, VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.slots import gather_slots
from instructseg.types import Task

OnText = Callable[[str], None]
"""Called with each piece of a text as it is written."""


@dataclass(frozen=True, eq=False, repr=False)
class ExplainedPrediction(Prediction):
    """The masks of one instruction, and the text that the model wrote before them."""

    explanation: str = ""
    """The assistant's text before its [SEG] token."""
    wrote_seg: bool = True
    """Whether the model ended the text with [SEG] itself. Otherwise it wrote `max_new_tokens` tokens or the end token,
    and [SEG] was appended."""
    trained_to_write: bool = True
    """Whether the weights were trained to write text. Otherwise the words mean nothing, and the masks follow them."""

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, explanation={self.explanation!r})".replace(
            "Prediction", type(self).__name__, 1
        )

    def to_dict(self) -> dict[str, Any]:
        """`Prediction.to_dict`, plus `explanation`, `wrote_seg` and `trained_to_write`."""
        fields = ("explanation", "wrote_seg", "trained_to_write")
        return super().to_dict() | {name: getattr(self, name) for name in fields}


@dataclass(frozen=True)
class Explanation:
    """What the model wrote, and its proposals for one instruction (batch 1, instructions 1)."""

    text: str
    wrote_seg: bool
    output: InstructSegOutput


@torch.inference_mode()
def explain(
    model: InstructSegModel, processor: InstructSegProcessor, visual: VisualFeatures, prefix: Cache | None,
    instruction: str, task: Task, max_new_tokens: int = 128, on_text: OnText | None = None, use_cache: bool = True,
) -> Explanation:  # fmt: skip
    """Write an explanation by greedy decoding, then decode the masks from the mask tokens that follow it.

    The sequence is that of a training sample with an explanation: prompt, explanation, [SEG], mask tokens. The text has
    at least one token; [SEG] or the end token ends it. A photo is its own reference frame.

    Args:
        prefix: the task's cached prompt before the instruction, from `read_prefix`; None computes it.
        max_new_tokens: most tokens of the text.
        on_text: called with each piece of the text as it is written.
        use_cache: False computes the whole sequence for each token, as a reference for tests; `prefix` must be None.

    Raises InputError if the instruction leaves no room for a text.
    """
    layout = build_layout([[processor.prompts.explained_opening(instruction, task)]], [1], processor.token_counts)
    layout = layout.to(model.device)
    references = model.perceive(visual, layout, torch.zeros(1, 1, dtype=torch.long, device=model.device))
    row = GrowingRow(model, prefix, use_cache)
    start = row.length
    states = row.read(model.embed(layout, visual, references)[:, start:])
    words = gather_slots(nn.functional.pad(states, (0, 0, start, 0)), layout.word_slots)
    text = _write(processor, row, min(max_new_tokens, row.room - 1 - len(model.mask_tokens)), on_text)
    seg = model.get_input_embeddings()(torch.tensor([[processor.prompts.seg_id]], device=model.device))
    masks = row.read(torch.cat([seg, model.mask_tokens[None].to(seg.dtype)], 1))[:, None, 1:]
    inputs = model.get_input_embeddings()(layout.word_ids) if model.seed_proposer is not None else None
    output, _, _ = model.propose(visual, LanguageModelOutput(states, masks, words, layout.word_mask, inputs))
    return Explanation(text, row.stopped_at == processor.prompts.seg_id, output)


def _write(processor: InstructSegProcessor, row: GrowingRow, limit: int, on_text: OnText | None) -> str:
    if limit < 1:
        raise InputError("expected room for an explanation after the instruction, got none; shorten the instruction")
    ends = (processor.prompts.seg_id, int(processor.tokenizer.eos_token_id))  # pyright: ignore[reportArgumentType]
    text = ""
    for piece in decode_pieces(processor.tokenizer, row.write(limit, stop=ends, forbidden=ends)):
        text += piece
        if on_text is not None:
            on_text(piece)
    return text
