"""VMTF as section 3.3 reads (`output_tokens: all`): queries, keys, tokens and scores, in the three granularities.

Whole numbers as word embeddings make the pooled mean exact.
"""

import pytest
import tiny_model
import torch

from instructseg.model.configuration import SegmentationDecoderConfig, TextFusionConfig
from instructseg.model.segmentation_decoder import MaskedAttentionDecoder
from instructseg.model.text_fusion import VisionGuidedMultiGranularityTextFusion, one_embedding

GRANULARITIES = ("both", "detailed", "global")
BOTH = {"text_fusion_config": {"output_tokens": "all"}}


def build(granularity: str) -> VisionGuidedMultiGranularityTextFusion:
    torch.manual_seed(0)
    config = TextFusionConfig(
        hidden_size=16, depth=2, num_heads=2, head_dim=8, granularity=granularity, output_tokens="all"
    )
    return VisionGuidedMultiGranularityTextFusion(config, 12, 6, 10).double()


@pytest.fixture
def media():
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(-4, 5, (2, 5, 12), generator=generator).double()
    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]).bool()
    return words, mask, torch.randn(2, 6, 2, 3, generator=generator).double()


def slow_layer(layer, latents, media, keys_of_text):
    """One layer for one set of queries, head by head; the first `keys_of_text` queries are keys too."""
    normed = layer.norm_latents(latents)
    keys, values = layer.to_kv(torch.cat([layer.norm_media(media), normed[:keys_of_text]])).chunk(2, 1)
    queries, heads = layer.to_q(normed), []
    for head in range(layer.num_heads):
        part = slice(head * layer.head_dim, (head + 1) * layer.head_dim)
        heads.append((queries[:, part] @ keys[:, part].T / layer.head_dim**0.5).softmax(-1) @ values[:, part])
    latents = latents + layer.to_out(torch.cat(heads, dim=1))
    return latents + layer.ffn(latents)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_against_a_loop(granularity, media):
    """Queries E_g and E_d, keys f_img and E_g, a token of E_v for every query, no linear path."""
    fusion, (words, mask, visual) = build(granularity), media
    tokens = fusion(words, mask, visual)
    for row in range(2):
        details = words[row][mask[row]]
        pooled = details.mean(0, keepdim=True)
        queries = {"both": torch.cat([pooled, details]), "detailed": details, "global": pooled}[granularity]
        latents, seen = fusion.text_projection(queries), fusion.visual_projection(visual[row]).flatten(1).T
        for layer in fusion.layers:
            latents = slow_layer(layer, latents, seen, keys_of_text=0 if granularity == "detailed" else 1)
        expected = fusion.token_projection(fusion.norm(latents))
        torch.testing.assert_close(tokens[row, : len(expected)], expected)
        torch.testing.assert_close(
            tokens[row, len(expected) :], expected.mean(0).expand_as(tokens[row, len(expected) :])
        )
    assert tokens.shape[1] == {"both": 6, "detailed": 5, "global": 1}[granularity]
    assert not [name for name, _ in fusion.named_parameters() if name.startswith(("pooled_", "output_"))]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_which_words_reach_which_token(granularity, media):
    """A detail's own token, and through the pooled mean every token that reads E_g; padding reaches none."""
    fusion, (words, mask, visual) = build(granularity), media
    reached = torch.autograd.functional.jacobian(lambda x: fusion(x, mask, visual)[0], words)[:, :, 0].any(1).any(-1)
    assert not reached[:, 4].any(), "padding"
    if granularity == "detailed":
        assert torch.equal(reached[:4, :4], torch.eye(4).bool()), "with neither E_g nor details as keys"
    else:
        assert reached[:1, :4].all() and reached[: 5 if granularity == "both" else 1, :4].all()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_details_count_beyond_their_mean(granularity, media):
    """Two details moved against each other keep the mean: only "global" cannot notice."""
    fusion, (words, mask, visual) = build(granularity), media
    moved = words.clone()
    moved[:, 0] += 2
    moved[:, 1] -= 2
    change = (fusion(moved, mask, visual) - fusion(words, mask, visual)).abs().amax((-1, -2))
    assert (change > 1e-3).all() if granularity != "global" else not change.any()


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_vision_guides_every_token(granularity, media):
    fusion, (words, mask, visual) = build(granularity), media
    change = (fusion(words, mask, visual.flip(1)) - fusion(words, mask, visual)).abs().amax(-1)
    assert change.min() > 1e-3


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_a_score_is_the_reduced_similarity_and_padding_is_not_read(reduction, media):
    torch.manual_seed(0)
    config = SegmentationDecoderConfig(hidden_size=8, mask_size=4, num_heads=2, decoder_layers=0)
    decoder = MaskedAttentionDecoder(config, 3, token_reduction=reduction)
    queries, features = torch.randn(1, 2, 3, 8), torch.randn(1, 4, 5, 5)
    text = torch.randn(1, 2, 4, 8)
    text[:, 1, 2:] = text[:, 1, :2].mean(1, keepdim=True)  # padding, as VMTF fills it
    scores = decoder.predict(features, queries, text).score_logits
    embedded = decoder.score_embed(decoder.norm(queries))
    for instruction, tokens in ((0, 4), (1, 2)):
        similarities = embedded[0, instruction] @ text[0, instruction, :tokens].T
        expected = similarities.max(1).values if reduction == "max" else similarities.mean(1)
        torch.testing.assert_close(scores[0, instruction], expected)
    torch.testing.assert_close(one_embedding(text)[0, 1], text[0, 1, :2].mean(0))


def test_one_token_scores_as_before():
    torch.manual_seed(0)
    decoder = MaskedAttentionDecoder(SegmentationDecoderConfig(hidden_size=8, mask_size=4, num_heads=2), 3)
    queries, features, text = torch.randn(1, 2, 3, 8), torch.randn(1, 4, 5, 5), torch.randn(1, 2, 8)
    whole = decoder.predict(features, queries, text).score_logits
    torch.testing.assert_close(decoder.predict(features, queries, text[:, :, None]).score_logits, whole)


@pytest.mark.parametrize("reduction", ["mean", "max"])
def test_a_packed_instruction_scores_as_one_alone(reduction):
    """Instructions of different lengths in one row: E_v's padding changes no score."""
    model, processor = tiny_model.build(text_fusion_config={"output_tokens": "all", "token_reduction": reduction})
    photo, texts = tiny_model.photo(), ["the dog", "the big red cup on the left"]
    packed, alone = (tiny_model.prepare(processor, ([photo], asked)) for asked in (texts, texts[:1]))
    with torch.no_grad():
        together, single = model(**packed.model_kwargs), model(**alone.model_kwargs)
    torch.testing.assert_close(together.score_logits[:, :1], single.score_logits, atol=1e-4, rtol=1e-4)


def test_the_released_conversion_keeps_one_token():
    from instructseg.conversion.released import with_released_behaviour

    assert with_released_behaviour(tiny_model.config(**BOTH)).text_fusion_config.output_tokens == "one"
