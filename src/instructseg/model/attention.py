"""Attention of the language model on a CPU, where PyTorch's kernel is slow: long rows, and short ones in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "sdpa_in_blocks"
BLOCK = 128  # queries; 128 to 384 take about the same time
LONG = 512  # queries below which one call is as fast


def attention_in_blocks(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options
) -> tuple[Tensor, None]:
    """Scaled dot product attention, (batch, heads, length, head dim) each -> (batch, length, heads, head dim).

    The mask of a row leaves early queries few keys, but PyTorch's kernel for CPUs computes all of them. Where there
    is a mask and the row is long, blocks of queries are given the keys up to the last one that any of them sees: the
    same values, about two thirds of the time at 1,290 keys. Where gradients are wanted, attention is written out.
    Everything else is transformers' `sdpa`.
    """
    on_cpu = attention_mask is not None and query.device.type == "cpu"
    if on_cpu and query.requires_grad:
        return _written_out(query, key, value, attention_mask, **options), None
    if not on_cpu or query.shape[2] < LONG:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    outputs = []
    for start in range(0, query.shape[2], BLOCK):
        block = slice(start, start + BLOCK)
        mask = attention_mask[:, :, block]
        ends = _last_seen(mask)
        output, _ = sdpa_attention_forward(
            module, query[:, :, block], key[:, :, :ends], value[:, :, :ends], mask[..., :ends], **options
        )
        outputs.append(output)
    return torch.cat(outputs, dim=1), None


def _written_out(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None = None, dropout: float = 0.0, **_
) -> Tensor:
    """The same by matrix products, whose backward pass on a CPU is several times faster than the kernel's.

    In half precision scores are rounded before the softmax, as everywhere where attention is not fused. Query heads
    that share a key head are rows of one product.
    """
    groups = query.shape[1] // key.shape[1]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    grouped = (query * scaling).unflatten(1, (-1, groups)).flatten(2, 3)  # (batch, key heads, groups * length, dim)
    scores = (grouped @ key.mT).unflatten(2, (groups, -1))
    if mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask[:, :, None], torch.finfo(scores.dtype).min)
    else:
        scores = scores + mask[:, :, None].to(scores.dtype)
    weights = nn.functional.dropout(scores.softmax(-1), dropout)
    attended = weights.flatten(2, 3).to(value.dtype) @ value
    return attended.unflatten(2, (groups, -1)).flatten(1, 2).transpose(1, 2)


def _last_seen(mask: Tensor) -> int:
    """Keys up to the last one that a query of the mask (bool, or to be added to scores) sees; all if one sees none."""
    seen = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    if not bool(seen.any(-1).all()):
        return mask.shape[-1]  # a query that sees nothing weighs all keys alike
    return int(seen.flatten(0, -2).any(0).nonzero().max()) + 1


def attend_in_blocks(model: PreTrainedModel) -> None:
    """Let a model that uses `sdpa` use `attention_in_blocks`; one with another implementation stays as it is."""
    AttentionInterface.register(NAME, attention_in_blocks)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)
