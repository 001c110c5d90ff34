"""Attention of the language model over long rows on a CPU: query blocks read only the keys that they can see."""

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
    same values, about two thirds of the time at 1,290 keys. Everything else is transformers' `sdpa`.
    """
    if attention_mask is None or query.device.type != "cpu" or query.shape[2] < LONG:
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
