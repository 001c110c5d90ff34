"""Ground truth of a training batch, and the normalizers of its losses."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from instructseg.model.layout import IGNORE


class LossNormalizers(NamedTuple):
    """Per-batch normalizers of the loss terms, scalar float tensors.

    A batch may be split into micro-batches, on one process or several. Each micro-batch uses the normalizers of the
    whole batch, so that its losses add up to the loss of the batch.
    """

    expressions: Tensor
    """Instructions."""
    present: Tensor
    """Instructions with a target."""
    pairs: Tensor
    """Target masks."""
    labelled_images: Tensor
    """Sum over images of the fraction of pixels with a known class."""
    labelled_tokens: Tensor
    """Tokens with a text label."""

    @classmethod
    def of(cls, targets: Targets | None, expression_mask: Tensor, labels: Tensor | None = None) -> LossNormalizers:
        """Normalizers of one batch; `targets` is None for conversations.

        Shapes: expression_mask bool (batch, instructions), False = padding; labels int (batch, length), -100 = none.
        """
        zero = torch.zeros((), device=expression_mask.device)
        expressions = expression_mask.sum().float()
        tokens = zero if labels is None else (labels[:, 1:] != IGNORE).sum().float()
        if targets is None:
            return cls(expressions, zero, zero, zero, tokens)
        valid = targets.valid & expression_mask[..., None]
        images = zero if targets.regions is None else (targets.regions != IGNORE).float().mean((1, 2)).sum()
        return cls(expressions, valid.any(-1).sum().float(), valid.sum().float(), images, tokens)


@dataclass(frozen=True)
class Targets:
    """Ground truth of a batch."""

    masks: Tensor
    """Masks of each instruction's objects, in [0, 1]: (batch, instructions, objects, height, width)."""
    valid: Tensor
    """bool (batch, instructions, objects), False for padding. An instruction without a valid mask has no target."""
    regions: Tensor | None = None
    """Class of each pixel, int (batch, height / 4, width / 4): rows of `name_ids`, -100 where unknown."""
    name_ids: Tensor | None = None
    """Token ids of the class names, int (names, words), padded with -1."""
    names_allowed: Tensor | None = None
    """Classes that compete in each image, bool (batch, names)."""
    localization: Tensor | None = None
    """Fraction of each cell of a reference frame that the target covers: (batch, instructions, time, cells, cells),
    negative where the frame is not annotated."""
    normalizers: LossNormalizers | None = None
    """Normalizers of the whole batch, if this is a micro-batch of it; None: this is the whole batch."""

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        """The targets with their tensors on a device; `normalizers` stay where they are."""
        tensors = {item.name: getattr(self, item.name) for item in fields(self)}
        return replace(self, **{name: value.to(device, non_blocking=non_blocking) for name, value in tensors.items()
                                if isinstance(value, Tensor)})  # fmt: skip
