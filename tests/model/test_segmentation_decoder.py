"""The decoders' own parts against plain references."""

import pytest
import tiny_model
import torch
from torch import nn

from instructseg.model.configuration import SegmentationDecoderConfig
from instructseg.model.position import sine_position
from instructseg.model.segmentation_decoder import (
    Attention,
    MaskedAttentionDecoder,
    PixelDecoder,
    PixelFeatures,
    attended_cells,
    shrink,
)


def test_masks_open_where_the_proposal_is_and_everywhere_when_it_is_empty():
    torch.manual_seed(0)
    logits = torch.randn(2, 12, 8, 8)
    logits[0, 5], logits[1, 0] = -5, 5
    cells = attended_cells(logits, (4, 4))
    assert cells.shape == (2, 12, 16) and cells.dtype == torch.bool
    for row in range(2):
        for query in range(12):
            means = logits[row, query].view(4, 2, 4, 2).mean((1, 3)).flatten()
            expected = means >= 0 if (means >= 0).any() else torch.ones(16, dtype=torch.bool)
            assert torch.equal(cells[row, query], expected)
    assert cells[0, 5].all() and cells[1, 0].all()


@pytest.mark.parametrize("size", [(2, 3), (4, 6), (8, 12), (16, 24), (5, 9), (16, 8), (8, 3)])
def test_shrinking_is_bilinear_interpolation(size):
    """Even factors, which are means of four cells, and others."""
    maps = torch.randn(2, 5, 16, 24)
    expected = torch.nn.functional.interpolate(maps, size=size, mode="bilinear")
    torch.testing.assert_close(shrink(maps, size), expected, atol=1e-6, rtol=0)


def test_attention_is_multi_head_attention():
    torch.manual_seed(0)
    ours, theirs = Attention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q_proj.weight, ours.k_proj.weight, ours.v_proj.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q_proj.bias, ours.k_proj.bias, ours.v_proj.bias]))
    theirs.out_proj = ours.out_proj
    queries, keys, values = torch.randn(2, 4, 12), torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    mask = torch.rand(4, 5) < 0.6
    mask[:, 0] = True
    expected, _ = theirs(queries, keys, values, attn_mask=~mask)
    torch.testing.assert_close(ours(queries, keys, values, mask), expected)


def decoder(text_to_pixel=False, **changes):
    torch.manual_seed(0)
    options = {"hidden_size": 8, "mask_size": 4, "num_heads": 2, "ffn_size": 8, "decoder_layers": 4, **changes}
    built = MaskedAttentionDecoder(SegmentationDecoderConfig(**options), num_queries=3, text_to_pixel=text_to_pixel)
    nn.init.normal_(built.query_embed)
    nn.init.normal_(built.level_embed)
    return built


def features(batch=2):
    levels = tuple(torch.randn(batch, 8, size, size) for size in (2, 4, 8))
    return PixelFeatures(torch.randn(batch, 4, 16, 16), levels)


def test_masks_and_scores_are_dot_products():
    built, pixels = decoder(), features()
    queries, text = torch.randn(2, 2, 3, 8), torch.randn(2, 2, 8)
    output = built.predict(pixels.mask_features, queries, text)
    normed = built.norm(queries)
    masks = torch.einsum("bkqc,bchw->bkqhw", built.mask_embed(normed), pixels.mask_features)
    scores = torch.einsum("bkqc,bkc->bkq", built.score_embed(normed), text)
    torch.testing.assert_close(output.mask_logits, masks)
    torch.testing.assert_close(output.score_logits, scores)


def test_a_layer_reads_its_level_and_only_there_where_the_last_mask_is():
    """Layers take strides 32, 16, 8 in turn; a level that no layer has read yet cannot change that layer's head."""
    built, pixels = decoder(), features(1)
    queries, text = torch.randn(1, 1, 3, 8), torch.randn(1, 1, 8)
    base = built(pixels, queries, text)
    assert len(base) == 5
    for level in range(3):
        levels = list(pixels.levels)
        levels[level] = levels[level] + torch.randn_like(levels[level])
        changed = built(PixelFeatures(pixels.mask_features, tuple(levels)), queries, text)
        same = [torch.equal(one.mask_logits, two.mask_logits) for one, two in zip(base, changed, strict=True)]
        assert same == [True] * (level + 1) + [False] * (4 - level)
    mask = attended_cells(base[0].mask_logits[0], (2, 2))[0]
    blocked = (~mask).all(0).nonzero()[:, 0].tolist()
    levels = list(pixels.levels)
    levels[0] = levels[0].clone()
    levels[0].flatten(2)[..., blocked] += 5
    unread = built(PixelFeatures(pixels.mask_features, tuple(levels)), queries, text)
    assert blocked and torch.equal(unread[1].mask_logits, base[1].mask_logits)


def test_text_masks_are_scaled_dot_products():
    built, pixels = decoder(text_to_pixel=True), features()
    text = torch.randn(2, 2, 8)
    head = built.text_to_pixel_head
    expected = torch.einsum("bkc,bchw->bkhw", head.projection(text), pixels.mask_features) / 2
    torch.testing.assert_close(head(pixels.mask_features, text), expected)


def test_pixel_decoder_sizes_and_mask_position():
    torch.manual_seed(0)
    config = tiny_model.config().decoder_config
    channels = [3, 5, 7, 9]
    strides = zip(channels, (4, 8, 16, 32), strict=True)
    pyramid = tuple(torch.randn(2, width, 64 // stride, 96 // stride) for width, stride in strides)
    built = PixelDecoder(config, channels)
    nn.init.normal_(built.level_embed)
    output = built(pyramid)
    assert output.mask_features.shape == (2, 16, 16, 24)
    assert [level.shape for level in output.levels] == [(2, 32, 2, 3), (2, 32, 4, 6), (2, 32, 8, 12)]
    cells = built.position_projection(sine_position(16, 24, 32, torch.device("cpu")))
    built.position_projection = None
    plain = built(pyramid).mask_features
    expected = plain + cells.T.reshape(16, 16, 24)
    torch.testing.assert_close(output.mask_features, expected)


def test_the_coarsest_map_reaches_the_mask_features_by_a_line_of_its_own():
    torch.manual_seed(0)
    config = tiny_model.config().decoder_config
    config.coarsest_in_masks = True
    built = PixelDecoder(config, [3, 5, 7, 9])
    nn.init.normal_(built.level_embed)
    pyramid = tuple(torch.randn(1, width, 64 // n, 64 // n) for width, n in ((3, 4), (5, 8), (7, 16), (9, 32)))
    whole = built(pyramid)
    weight, bias = built.coarsest_projection.weight[:, :, 0, 0], built.coarsest_projection.bias
    cells = torch.einsum("oc,bchw->bohw", weight, pyramid[-1]) + bias[:, None, None]
    enlarged = nn.functional.interpolate(cells, size=(16, 16), mode="bilinear")
    built.coarsest_projection = None
    torch.testing.assert_close(whole.mask_features, built(pyramid).mask_features + enlarged)


def test_every_cell_samples_around_its_own_centre():
    torch.manual_seed(0)
    built = PixelDecoder(tiny_model.config().decoder_config, [3, 5, 7, 9])
    nn.init.normal_(built.level_embed)
    read = []
    built.layers[0].self_attn.register_forward_pre_hook(lambda module, args: read.append(args))
    sizes = [(2, 3), (4, 6), (8, 12)]  # strides 32, 16, 8
    fine_to_coarse = [(16, 24), *sizes[::-1]]
    built(tuple(torch.randn(1, width, *size) for width, size in zip((3, 5, 7, 9), fine_to_coarse, strict=True)))
    _, reference, _, given = read[0]
    centres = [
        ((x + 0.5) / width, (y + 0.5) / height) for height, width in sizes for y in range(height) for x in range(width)
    ]
    assert given == sizes
    torch.testing.assert_close(reference, torch.tensor(centres))
