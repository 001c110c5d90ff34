"""Where each block of embeddings sits in the language model's sequence (co-decoding, Eq. 2).

One row holds one visual with all its instructions: a shared prefix, then one segment per instruction. A segment
attends to the prefix and to itself only, and its positions continue those of the prefix. A packed row therefore gives
the same hidden states as one row per instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum

import torch
from torch import Tensor

IGNORE = -100
"""Label of a token without text loss; the default `ignore_index` of torch's cross-entropy."""

PREFIX, PADDING, HIDDEN = 0, -1, -2
"""Special values of `Layout.segments`; a hidden token of segment s has HIDDEN - s."""


class Block(Enum):
    """Kind of a span of the sequence; the value is its placeholder in the prompt templates."""

    TEXT = ""
    IMAGE = "<image>"
    REFERENCES = "<temporal>"
    INSTRUCTION = "<refer>"
    MASKS = "<seg>"


@dataclass(frozen=True)
class PromptSpan:
    """Consecutive tokens of one block of a prompt."""

    block: Block
    ids: tuple[int, ...] = ()
    """Token ids of TEXT and INSTRUCTION; empty for the other blocks, whose length `TokenCounts` gives."""

    labels: tuple[int, ...] | None = None
    """Labels for the text loss, one per id, `IGNORE` where there is none; None: no loss on this span."""

    visible: bool = True
    """False: no token attends to this span, not even its own tokens, though they attend to preceding tokens. The
    released code masks every end-of-text token this way, because the same token is its padding."""


@dataclass(frozen=True)
class TokenCounts:
    """Number of embeddings that fill each placeholder of a prompt."""

    image: int
    """Visual tokens of an image, then its seeds if the model has any."""

    frame: int
    """OVP tokens of one reference frame; 0 without a perceiver."""

    masks: int
    """Mask tokens of one instruction."""


@dataclass(frozen=True)
class Layout:
    """Index tensors of a batch of rows.

    Slots index a row's tokens; the slot `length`, one past the end, stands for padding. A token's segment is PREFIX,
    1 + the index of its instruction, PADDING, or (for a token that no token attends to) HIDDEN - segment.

    Shapes, all int64 unless stated: token_ids, segments, positions, labels (batch, length); image_slots (batch,
    images, image tokens); reference_slots (batch, instructions, OVP tokens); word_ids, word_slots and bool word_mask
    (batch, instructions, words); mask_slots (batch, instructions, mask tokens); bool expression_mask (batch,
    instructions), False for padding.
    """

    token_ids: Tensor
    segments: Tensor
    positions: Tensor
    labels: Tensor
    image_slots: Tensor
    reference_slots: Tensor
    word_ids: Tensor
    word_slots: Tensor
    word_mask: Tensor
    mask_slots: Tensor
    expression_mask: Tensor
    prefix_length: int
    """Number of tokens of the first row's prefix; an int, because reading it from a tensor would synchronize a GPU."""

    @property
    def length(self) -> int:
        """Number of tokens in a row, padding included."""
        return self.token_ids.shape[1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        """The layout with its tensors on a device."""
        tensors = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "prefix_length"}
        moved = {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in tensors.items()}
        return replace(self, **moved)

    def attention_mask(self) -> Tensor:
        """Bool (batch, 1, length, length), True = attend: causal, within a token's own segment and the prefix."""
        hidden = self.segments <= HIDDEN
        segments = torch.where(hidden, HIDDEN - self.segments, self.segments)
        query, key = segments[:, :, None], self.segments[:, None]
        order = torch.arange(self.length, device=query.device)
        causal = order[:, None] >= order
        allowed = causal & (key >= PREFIX) & ((key == PREFIX) | (key == query))
        diagonal = torch.eye(self.length, dtype=torch.bool, device=query.device) & ~hidden[:, :, None]
        return (allowed | diagonal)[:, None]


Group = tuple[list[int], list[int]]
"""Slots and token ids of one span."""


class _RowWriter:
    """Appends the spans of one visual's prompts to a row, and records where each block was written."""

    def __init__(self, frames: int, counts: TokenCounts) -> None:
        self.ids: list[int] = []
        self.segments: list[int] = []
        self.positions: list[int] = []
        self.labels: list[int] = []
        self.groups: dict[Block, list[Group]] = {block: [] for block in Block}
        self._lengths = {
            Block.IMAGE: counts.image, Block.REFERENCES: frames * counts.frame, Block.MASKS: counts.masks,
        }  # fmt: skip

    def write(self, spans: Sequence[PromptSpan], segment: int, position: int) -> int:
        """Append spans of one segment, the first token at `position`; returns the position after the last."""
        for span in spans:
            ids = [0] * self._lengths[span.block] if span.block in self._lengths else list(span.ids)
            start = len(self.ids)
            self.ids += ids
            self.segments += [segment if span.visible else HIDDEN - segment] * len(ids)
            self.positions += range(position, position + len(ids))
            self.labels += [IGNORE] * len(ids) if span.labels is None else span.labels
            self.groups[span.block].append((list(range(start, len(self.ids))), ids))
            position += len(ids)
        return position


def split_prefix(spans: Sequence[PromptSpan]) -> tuple[list[PromptSpan], list[PromptSpan]]:
    """Split a prompt before its first block that depends on the instruction, into the prefix and the rest."""
    dependent = (Block.REFERENCES, Block.INSTRUCTION)
    cut = next((index for index, span in enumerate(spans) if span.block in dependent), len(spans))
    return list(spans[:cut]), list(spans[cut:])


def build_layout(
    prompts: Sequence[Sequence[Sequence[PromptSpan]]], frames: Sequence[int], counts: TokenCounts
) -> Layout:
    """Lay out a batch of prompts.

    Args:
        prompts: prompts[b][k] are the spans of instruction k about visual b.
        frames: number of reference frames of each visual.
        counts: lengths of the blocks without token ids.

    Raises ValueError when the instructions of one visual have different prefixes, e.g. prompts of two tasks.
    """
    rows = [_write_row(row, count, counts) for row, count in zip(prompts, frames, strict=True)]
    length = max(len(row.ids) for row in rows)
    width = max(map(len, prompts))

    def slots(block: Block, groups: int) -> Tensor:
        return _pad_groups([[slots for slots, _ in row.groups[block]] for row in rows], groups, length)

    word_slots = slots(Block.INSTRUCTION, width)
    return Layout(
        token_ids=pad_rows([row.ids for row in rows], 0),
        segments=pad_rows([row.segments for row in rows], PADDING),
        positions=pad_rows([row.positions for row in rows], 0),
        labels=pad_rows([row.labels for row in rows], IGNORE),
        image_slots=slots(Block.IMAGE, max(len(row.groups[Block.IMAGE]) for row in rows)),
        reference_slots=slots(Block.REFERENCES, width),
        word_ids=_pad_groups([[ids for _, ids in row.groups[Block.INSTRUCTION]] for row in rows], width, 0),
        word_slots=word_slots,
        word_mask=word_slots < length,
        mask_slots=slots(Block.MASKS, width),
        expression_mask=torch.tensor([[index < len(row) for index in range(width)] for row in prompts]),
        prefix_length=rows[0].segments.count(PREFIX),
    )


def _write_row(prompts: Sequence[Sequence[PromptSpan]], frames: int, counts: TokenCounts) -> _RowWriter:
    writer = _RowWriter(frames, counts)
    prefix, _ = split_prefix(prompts[0])
    start = writer.write(prefix, PREFIX, 0)
    for index, spans in enumerate(prompts, start=1):
        own_prefix, rest = split_prefix(spans)
        if own_prefix != prefix:
            raise ValueError(
                "expected the instructions about one visual to share a prompt prefix, got different prefixes; "
                "put different tasks in separate rows"
            )
        writer.write(rest, index, start)
    return writer


def pad_rows(rows: Sequence[list[int]], fill: int) -> Tensor:
    """Rows of integers, at least one, padded on the right to one length: int64 (rows, longest)."""
    longest = max(map(len, rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def _pad_groups(rows: Sequence[list[list[int]]], groups: int, fill: int) -> Tensor:
    """Groups of integers in each row, padded to the same number and length: (rows, groups, longest)."""
    longest = max((len(group) for row in rows for group in row), default=0)
    padded = [row + [[]] * (groups - len(row)) for row in rows]
    values = [[group + [fill] * (longest - len(group)) for group in row] for row in padded]
    return torch.tensor(values, dtype=torch.long).view(len(rows), groups, longest)
