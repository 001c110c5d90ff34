"""Where each block of embeddings sits in the language model's sequence (co-decoding, Eq. 2).

One row is one visual with all its instructions: a shared prefix, then one segment per instruction. A segment sees
the prefix and itself only, and its positions continue those of the prefix, so a packed row gives the same hidden
states as one row per instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum

import torch
from torch import Tensor

IGNORE = -100
PREFIX, PADDING, UNSEEN = 0, -1, -2


class Block(Enum):
    """What fills a stretch of the sequence; the value is the placeholder used in templates."""

    TEXT = ""
    IMAGE = "<image>"
    REFERENCES = "<temporal>"
    INSTRUCTION = "<refer>"
    MASKS = "<seg>"


@dataclass(frozen=True)
class Piece:
    """A run of one block: token ids for TEXT and INSTRUCTION (labels likewise, for the text loss), else empty.

    `seen`: False hides the run's tokens from all, themselves too, while they see what others would there. The
    released code hides every end-of-text token so, because it is its padding too.
    """

    block: Block
    ids: tuple[int, ...] = ()
    labels: tuple[int, ...] | None = None
    seen: bool = True


@dataclass(frozen=True)
class BlockSizes:
    """Embeddings that fill one placeholder: visual tokens, OVP tokens of one frame, mask tokens."""

    image: int
    frame: int
    masks: int


@dataclass(frozen=True)
class Layout:
    """Index tensors of a batch of rows. Slots index the row's tokens; the slot `length` is a dump for padding.

    A token's segment is PREFIX, 1 + its instruction, PADDING, or UNSEEN - segment when no token may see it.
    token_ids, segments, positions, labels: (batch, length); image_slots (batch, images, image tokens);
    reference_slots (batch, instructions, OVP tokens); word_ids, word_slots, word_mask (batch, instructions, words);
    mask_slots (batch, instructions, mask tokens); expression_mask bool (batch, instructions), False = padding.
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

    @property
    def length(self) -> int:
        return self.token_ids.shape[1]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        moved = {item.name: getattr(self, item.name).to(device, non_blocking=non_blocking) for item in fields(self)}
        return replace(self, **moved)

    def attention_mask(self) -> Tensor:
        """Bool (batch, 1, length, length), True = attend: causal, within the own segment and the prefix."""
        unseen = self.segments <= UNSEEN
        own = torch.where(unseen, UNSEEN - self.segments, self.segments)
        query, key = own[:, :, None], self.segments[:, None]
        order = torch.arange(self.length, device=query.device)
        causal = order[:, None] >= order
        allowed = causal & (key >= PREFIX) & ((key == PREFIX) | (key == query))
        itself = torch.eye(self.length, dtype=torch.bool, device=query.device) & ~unseen[:, :, None]
        return (allowed | itself)[:, None]


class _Row:
    """One visual's sequence while it is being written."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.segments: list[int] = []
        self.positions: list[int] = []
        self.labels: list[int] = []

    def add(self, ids: Sequence[int], segment: int, position: int, labels: Sequence[int] | None) -> list[int]:
        start = len(self.ids)
        self.ids += ids
        self.segments += [segment] * len(ids)
        self.positions += range(position, position + len(ids))
        self.labels += labels if labels is not None else [IGNORE] * len(ids)
        return list(range(start, len(self.ids)))


def split_prefix(pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """Cut a prompt before its first block that depends on the instruction."""
    dependent = (Block.REFERENCES, Block.INSTRUCTION)
    cut = next((i for i, piece in enumerate(pieces) if piece.block in dependent), len(pieces))
    return list(pieces[:cut]), list(pieces[cut:])


def build_layout(prompts: Sequence[Sequence[Sequence[Piece]]], frames: Sequence[int], sizes: BlockSizes) -> Layout:
    """Lay out a batch: prompts[b][k] are the pieces of instruction k about visual b, frames[b] its reference frames.

    Raises ValueError when instructions of one visual do not share their prefix (say, two tasks' templates).
    """
    rows, slots = [], []
    for asked, count in zip(prompts, frames, strict=True):
        row, found = _lay_row(asked, {Block.IMAGE: sizes.image, Block.REFERENCES: count * sizes.frame,
                                      Block.MASKS: sizes.masks})  # fmt: skip
        rows.append(row)
        slots.append(found)
    length = max(len(row.ids) for row in rows)
    width = max(len(asked) for asked in prompts)

    def table(values: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([line + [fill] * (length - len(line)) for line in values])

    def gather(block: Block, groups: int, fill: int = length, ids: bool = False) -> Tensor:
        lists = [[list(group[1 if ids else 0]) for group in found[block]] for found in slots]
        longest = max((len(group) for found in lists for group in found), default=0)
        padded = [found + [[]] * (groups - len(found)) for found in lists]
        flat = [[group + [fill] * (longest - len(group)) for group in found] for found in padded]
        return torch.tensor(flat, dtype=torch.long).view(len(rows), groups, longest)

    words = gather(Block.INSTRUCTION, width)
    return Layout(
        token_ids=table([row.ids for row in rows], 0),
        segments=table([row.segments for row in rows], PADDING),
        positions=table([row.positions for row in rows], 0),
        labels=table([row.labels for row in rows], IGNORE),
        image_slots=gather(Block.IMAGE, max(len(found[Block.IMAGE]) for found in slots)),
        reference_slots=gather(Block.REFERENCES, width),
        word_ids=gather(Block.INSTRUCTION, width, fill=0, ids=True),
        word_slots=words,
        word_mask=words < length,
        mask_slots=gather(Block.MASKS, width),
        expression_mask=torch.tensor([[k < len(asked) for k in range(width)] for asked in prompts]),
    )


def _lay_row(asked: Sequence[Sequence[Piece]], counts: dict[Block, int]) -> tuple[_Row, dict[Block, list]]:
    row, found = _Row(), {block: [] for block in Block}
    prefix, _ = split_prefix(asked[0])

    def write(pieces: Sequence[Piece], segment: int, position: int) -> int:
        for piece in pieces:
            ids = piece.ids if piece.block in (Block.TEXT, Block.INSTRUCTION) else (0,) * counts[piece.block]
            own = segment if piece.seen else UNSEEN - segment
            found[piece.block].append((row.add(ids, own, position, piece.labels), ids))
            position += len(ids)
        return position

    shared = write(prefix, PREFIX, 0)
    for index, pieces in enumerate(asked, start=1):
        own_prefix, own = split_prefix(pieces)
        if own_prefix != prefix:
            raise ValueError("instructions about one visual must share the part of the prompt before them; "
                             "ask different tasks in separate rows")  # fmt: skip
        write(own, index, shared)
    return row, found
