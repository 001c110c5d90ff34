"""Tiny random models of transformers, converted, give the same numbers inside our model as on their own."""

import pytest
import tiny_sources
import torch
from torch import nn

from instructseg.conversion.convert import convert_base
from instructseg.model.layout import Block, PromptSpan, TokenCounts, build_layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures

TOLERANCE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    projector = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 40))
    made = {"phi": tiny_sources.phi(), "siglip": tiny_sources.siglip(), "m2f": tiny_sources.mask2former()}
    return made | {"projector": projector}


@pytest.fixture(scope="module")
def model(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    mipha = tiny_sources.write_mipha(folder / "mipha", parts["phi"], parts["siglip"], parts["projector"])
    pickle = tiny_sources.write_mask2former(folder / "model_final.pkl", parts["m2f"])
    convert_base(mipha, pickle, folder / "converted", tiny_sources.config())
    return InstructSegModel.from_pretrained(folder / "converted").eval()


@torch.no_grad()
def test_phi(model, parts):
    ids = torch.randint(3, 90, (2, 9))
    prompts = [[[PromptSpan(Block.TEXT, tuple(row))]] for row in ids.tolist()]
    layout = build_layout(prompts, [1, 1], TokenCounts(4, 3, 6))
    hidden = model.reason(layout, VisualFeatures(torch.zeros(2, 16, 40)), None)
    bias = parts["phi"].lm_head.bias
    torch.testing.assert_close(model.lm_head(hidden.hidden_states) + bias, parts["phi"](ids).logits, **TOLERANCE)


@torch.no_grad()
def test_siglip(model, parts):
    pixels = torch.randn(2, 3, 28, 28)
    states = parts["siglip"].vision_model(pixels, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(model.vision_tokens(pixels), parts["projector"](states), **TOLERANCE)


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (128, 64)])
@torch.no_grad()
def test_swin_and_pixel_decoder(model, parts, size):
    pixels = torch.randn(2, 3, *size)
    theirs = parts["m2f"].model.pixel_level_module(pixels, output_hidden_states=True)
    ours = model.encode_image(pixels, torch.zeros(2, 3, 28, 28))
    features = parts["m2f"].model.pixel_level_module.encoder(pixels).feature_maps
    for level, wanted in zip(model.backbone(pixels).feature_maps, features, strict=True):
        torch.testing.assert_close(level, wanted, **TOLERANCE)
    torch.testing.assert_close(ours.pixels.mask_features, theirs.decoder_last_hidden_state, **TOLERANCE)
    for level, wanted in zip(ours.pixels.levels, theirs.decoder_hidden_states, strict=True):
        torch.testing.assert_close(level, wanted, **TOLERANCE)


@torch.no_grad()
def test_masked_attention_decoder(model, parts):
    """Given Mask2Former's own learned queries, the same masks at every head."""
    pixels = torch.randn(2, 3, 64, 96)
    theirs = parts["m2f"](pixels, output_auxiliary_logits=True)
    queries = parts["m2f"].model.transformer_module.queries_features.weight.expand(2, 1, -1, -1)
    visual = model.encode_image(pixels, torch.zeros(2, 3, 28, 28))
    heads = model.mask_decoder(visual.pixels, queries, torch.zeros(2, 1, 32))
    torch.testing.assert_close(heads[-1].mask_logits[:, 0], theirs.masks_queries_logits, **TOLERANCE)
    masks = theirs.auxiliary_logits
    assert len(masks) == len(heads) - 1
    for head, wanted in zip(heads, masks, strict=False):
        torch.testing.assert_close(head.mask_logits[:, 0], wanted["masks_queries_logits"], **TOLERANCE)
