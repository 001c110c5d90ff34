"""Attention of the language model on a CPU, where PyTorch's kernel is slow for long sequences and in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "sdpa_in_blocks"
BLOCK = 128  # queries per block; 128 to 384 take about the same time
LONG = 512  # min queries for blocks: below it, one call is as fast


def attention_in_blocks(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options
) -> tuple[Tensor, None]:
    """Scaled dot product attention, (batch, heads, length, head dim) each -> (batch, length, heads, head dim).

    Under a causal mask early queries attend to few keys, but PyTorch's CPU kernel computes all of them. With a mask
    and a long sequence, each block of queries is computed with the keys up to the last one that any of them attends
    to: the same result, in about two thirds of the time at 1,290 keys. When gradients are needed, attention is computed
    by explicit matrix products. All other cases use transformers' `sdpa`.
    """
    if attention_mask is not None and query.device.type == "cpu" and query.requires_grad:
        return _explicit_attention(query, key, value, attention_mask, **options), None
    if attention_mask is None or query.device.type != "cpu" or query.shape[2] < LONG:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    outputs = []
    for start in range(0, query.shape[2], BLOCK):
        block = slice(start, start + BLOCK)
        mask = attention_mask[:, :, block]
        keys = _key_count(mask)
        output, _ = sdpa_attention_forward(
            module, query[:, :, block], key[:, :, :keys], value[:, :, :keys], mask[..., :keys], **options
        )
        outputs.append(output)
    return torch.cat(outputs, dim=1), None


def _explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None = None, dropout: float = 0.0, **_
) -> Tensor:
    """Attention as matrix products, whose backward pass on a CPU is several times faster than the kernel's.

    In half precision, scores are rounded before the softmax, as in any unfused attention. Query heads that share a
    key head are rows of one matrix product.
    """
    groups = query.shape[1] // key.shape[1]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    grouped = (query * scale).unflatten(1, (-1, groups)).flatten(2, 3)  # (batch, key heads, groups * length, dim)
    scores = (grouped @ key.mT).unflatten(2, (groups, -1))
    if mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask[:, :, None], torch.finfo(scores.dtype).min)
    else:
        scores = scores + mask[:, :, None].to(scores.dtype)
    weights = nn.functional.dropout(scores.softmax(-1), dropout)
    attended = weights.flatten(2, 3).to(value.dtype) @ value
    return attended.unflatten(2, (groups, -1)).flatten(1, 2).transpose(1, 2)


def _key_count(mask: Tensor) -> int:
    """Number of keys up to the last one that any query attends to; `mask` is bool or additive.

    All keys if some query attends to none, because softmax then weights all keys equally.
    """
    attended = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
    if not bool(attended.any(-1).all()):
        return mask.shape[-1]
    return int(attended.flatten(0, -2).any(0).nonzero().max()) + 1


def attend_in_blocks(model: PreTrainedModel) -> None:
    """Switch a model from `sdpa` to `attention_in_blocks`; models with other implementations are unchanged."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


# On import, not with the first model: a pickled model is opened in processes that have built none.
AttentionInterface.register(NAME, attention_in_blocks)
AttentionMaskInterface.register(NAME, sdpa_mask)
