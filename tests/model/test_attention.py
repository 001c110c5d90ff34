"""Attention in blocks gives what one call gives, and is what the language model uses."""

import pytest
import torch
from torch import nn

from instructseg.model import attention
from instructseg.model.attention import NAME, attention_in_blocks
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.presets import tiny


def attend(query, key, value, allowed):
    """Softmax attention written out; allowed bool (batch, 1, queries, keys)."""
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    return (scores.masked_fill(~allowed, -1e9).softmax(-1) @ value).transpose(1, 2)


def tensors(queries, keys):
    torch.manual_seed(0)
    return torch.randn(2, 3, queries, 8), torch.randn(2, 3, keys, 8), torch.randn(2, 3, keys, 8)


def packed(queries, keys):
    """A causal mask behind a prefix, with two instructions that do not see one another."""
    allowed = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    allowed[queries // 2 :, keys - queries : keys - queries // 2] = False
    return allowed[None, None].repeat(2, 1, 1, 1)


@pytest.mark.parametrize("kind", ["bool", "added"])
@pytest.mark.parametrize("queries", [40, 513, 700])
def test_equal_to_one_call(kind, queries):
    query, key, value = tensors(queries, queries + 50)
    allowed = packed(queries, queries + 50)
    low = torch.finfo(torch.float32).min
    mask = allowed if kind == "bool" else torch.zeros(allowed.shape).masked_fill(~allowed, low)
    output, _ = attention_in_blocks(nn.Module(), query, key, value, mask, scaling=8**-0.5)
    torch.testing.assert_close(output, attend(query, key, value, allowed), atol=1e-5, rtol=1e-4)


def test_rows_that_see_nothing_stay_as_they_were():
    query, key, value = tensors(600, 600)
    allowed = torch.ones(2, 1, 600, 600, dtype=torch.bool).tril()
    allowed[:, :, 130] = False
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    whole = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)
    output, _ = attention_in_blocks(nn.Module(), query, key, value, mask, scaling=8**-0.5)
    torch.testing.assert_close(output, whole, atol=1e-5, rtol=1e-4)


def test_blocks_read_no_more_keys_than_they_see(monkeypatch):
    read = []
    true = attention.sdpa_attention_forward

    def counted(module, query, key, *rest, **options):
        read.append(key.shape[2])
        return true(module, query, key, *rest, **options)

    monkeypatch.setattr(attention, "sdpa_attention_forward", counted)
    query, key, value = tensors(640, 700)
    attention_in_blocks(nn.Module(), query, key, value, torch.ones(2, 1, 640, 700, dtype=torch.bool).tril(60))
    assert read == [188, 316, 444, 572, 700]


def test_the_language_model_uses_it_unless_told_otherwise():
    assert InstructSegModel(tiny()).language_model.config._attn_implementation == NAME
    config = InstructSegConfig.from_dict(tiny().to_dict())
    config.text_config._attn_implementation = "eager"
    assert InstructSegModel(config).language_model.config._attn_implementation == "eager"


@pytest.mark.parametrize("kind", ["bool", "added"])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_in_training_equal_to_the_kernel_in_values_and_gradients(kind, key_heads):
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 30, 8), torch.randn(2, key_heads, 40, 8), torch.randn(2, key_heads, 40, 8)
    allowed = packed(30, 40)
    mask = allowed if kind == "bool" else torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(query.dtype).min)
    tangent, found = torch.randn(2, 30, 4, 8), []
    for own in (True, False):
        given = [each.clone().requires_grad_() for each in (query, key, value)]
        if own:
            output, _ = attention_in_blocks(nn.Module(), *given, mask, scaling=0.3)
        else:
            groups = 4 // key_heads
            shared = [each.repeat_interleave(groups, dim=1) for each in given[1:]]
            output = nn.functional.scaled_dot_product_attention(given[0], *shared, attn_mask=mask, scale=0.3)
            output = output.transpose(1, 2)
        output.backward(tangent)
        found.append([output, *(each.grad for each in given)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
