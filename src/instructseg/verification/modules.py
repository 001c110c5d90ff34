"""Compare our modules with recordings of the released ones, one function per file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from transformers import SwinBackbone, SwinConfig

from instructseg.conversion import mask2former, released
from instructseg.conversion.rules import Fresh, Rename
from instructseg.model.configuration import PerceiverConfig, SegmentationDecoderConfig, TextFusionConfig
from instructseg.model.deformable_attention import MultiScaleDeformableAttention
from instructseg.model.perceiver import ObjectAwareVideoPerceiver, PerceiverLayer
from instructseg.model.position import sine_position
from instructseg.model.segmentation_decoder import MaskedAttentionDecoder, PixelDecoder, PixelFeatures, Proposals
from instructseg.model.text_fusion import VisionGuidedMultiGranularityTextFusion
from instructseg.verification.recording import Comparison, Recording, load_recorded
from instructseg.verification.sizes import perceiver_sizes


def check_ovp(recording: Recording, result: Comparison) -> None:
    latents, image, text = (recording.inputs[name] for name in ("latents", "image", "text"))
    config = PerceiverConfig(num_latents=len(latents), latents_in_keys=True, **perceiver_sizes(recording.meta["cfg"]))
    ovp = ObjectAwareVideoPerceiver(config, latents.shape[-1])
    load_recorded(ovp, "OVP", released.RESAMPLER, recording.weights, (Fresh("latents", "an input of this recording"),))
    ovp.latents.copy_(latents)
    words = text[:, None]
    out = ovp(image, words, torch.ones(words.shape[:3], dtype=torch.bool))[:, 0]
    result.close("out", out, recording.outputs["out"])
    result.close("flat", out.flatten(1, 2), recording.outputs["flat"])
    layer, (batch, time) = cast(PerceiverLayer, ovp.layers[0]), image.shape[:2]
    media = torch.cat([image, text[:, None].expand(-1, time, -1, -1)], dim=2).flatten(0, 1)
    raw = latents.expand(batch * time, -1, -1)
    attended = layer.attend(raw, layer.keys_of_media(media), None, own=len(latents))
    result.close("layer0_attn", attended.unflatten(0, (batch, time)), recording.outputs["layer0_attn"])
    result.close("layer0_ffn", layer.ffn(raw).unflatten(0, (batch, time)), recording.outputs["layer0_ffn"])


def check_vmtf(recording: Recording, result: Comparison) -> None:
    """Compare the module with identity projections; detail tokens as additional queries must not change the result."""
    latents, visual = recording.inputs["latents"][0], recording.inputs["visual"][0]
    size = latents.shape[-1]
    config = TextFusionConfig(hidden_size=size, granularity="global", **perceiver_sizes(recording.meta["cfg"]))
    vmtf = VisionGuidedMultiGranularityTextFusion(config, size, size, size)
    names = ("text", "pooled", "visual", "output")
    fresh = [Fresh(f"{name}_projection.*", "not in this recording") for name in names]
    load_recorded(vmtf, "VMTF", released.RESAMPLER, recording.weights, fresh)
    _set_identity(vmtf)
    fused = vmtf(latents[:, :1], torch.ones(1, 1, dtype=torch.bool), visual.mT[:, :, None])[:, None]
    result.close("out", fused, recording.outputs["out"])
    result.close("out_global_only", fused, recording.outputs["out_global_only"])

    def with_details(queries: Tensor) -> Tensor:
        for layer in cast(Iterable[PerceiverLayer], vmtf.layers):
            queries = layer(queries, layer.keys_of_media(visual), own=1)
        return vmtf.norm(queries)[:, :1]

    noise = recording.inputs["latents_detail_noise"][0]
    result.close("out with details", with_details(latents), recording.outputs["out"])
    result.close("out_detail_noise", with_details(noise), recording.outputs["out_detail_noise"])
    layer = cast(PerceiverLayer, vmtf.layers[0])
    attended = layer.attend(latents, layer.keys_of_media(visual), None, own=1)
    result.close("layer0_attn", attended[None], recording.outputs["layer0_attn"])


def _set_identity(vmtf: VisionGuidedMultiGranularityTextFusion) -> None:
    """Set the projections so that the module takes the recorded latents and returns the fused token."""
    identity = torch.eye(vmtf.text_projection.in_features)
    assert vmtf.pooled_projection is not None and vmtf.output_projection is not None  # the released form has both
    for projection in (vmtf.text_projection, vmtf.pooled_projection, vmtf.visual_projection, vmtf.output_projection):
        projection.get_parameter("bias").zero_()
    vmtf.text_projection.weight.copy_(identity)
    vmtf.visual_projection.weight.copy_(identity[:, :, None, None])
    vmtf.output_projection.weight.copy_(torch.cat([torch.zeros_like(identity), identity], dim=1))


def check_swin(recording: Recording, result: Comparison) -> None:
    sizes = recording.meta["cfg"]
    names = ("embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias")
    stages = [f"stage{index + 1}" for index in sizes["out_indices"]]
    options = {"drop_path_rate": 0.0, "out_features": stages, **{name: sizes[name] for name in names}}
    swin = SwinBackbone(SwinConfig(**options))
    fresh = tuple(Fresh(rule.target.removeprefix("backbone."), rule.reason) for rule in mask2former.SWIN_FRESH)
    load_recorded(swin, "Swin", mask2former.SWIN, recording.weights, fresh)
    swin.eval()
    for name, pixels in recording.inputs.items():
        shape = name.removeprefix("x_")
        for index, level in zip(sizes["out_indices"], swin(pixels).feature_maps, strict=True):
            result.close(f"{shape}.res{index + 2}", level, recording.outputs[f"{shape}.res{index + 2}"])


def check_msdeform_attn(recording: Recording, result: Comparison) -> None:
    sizes = recording.meta
    attention = MultiScaleDeformableAttention(sizes["d_model"], sizes["n_heads"], sizes["n_levels"], sizes["n_points"])
    load_recorded(attention, "deformable attention", (Rename("*", "*"),), recording.weights)
    maps = [tuple(size) for size in recording.inputs["spatial_shapes"].tolist()]
    inputs, outputs = recording.inputs, recording.outputs
    query, points, value = inputs["query"], inputs["reference_points"], inputs["value"]
    result.close("out", attention(query, points, value, maps), outputs["out"])
    padded = attention(query, points, value, maps, inputs["padding_mask"].bool())
    result.close("out_padded", padded, outputs["out_padded"])


def check_pixel_decoder(recording: Recording, result: Comparison) -> None:
    sizes = recording.meta["cfg"]
    config = SegmentationDecoderConfig(
        hidden_size=sizes["conv_dim"], mask_size=sizes["mask_dim"], num_heads=sizes["transformer_nheads"],
        num_points=recording.meta["n_points"], pixel_layers=sizes["transformer_enc_layers"],
        pixel_ffn_size=sizes["transformer_dim_feedforward"], fpn_bias_relu=True,
    )  # fmt: skip
    decoder = PixelDecoder(config, list(recording.meta["channels"]))
    load_recorded(decoder, "pixel decoder", released.PIXEL_DECODER, recording.weights)
    pixels = decoder(tuple(recording.inputs[f"res{level}"] for level in (2, 3, 4, 5)))
    result.close("mask_features", pixels.mask_features, recording.outputs["mask_features"])
    result.close("out0", pixels.levels[0], recording.outputs["out0"])
    for index, level in enumerate(pixels.levels):
        result.close(f"ms{index}", level, recording.outputs[f"ms{index}"])
    recorded = recording.outputs["pe_res4"]
    dim, height, width = recorded.shape[1:]
    position = sine_position(height, width, dim, recorded.device)
    result.close("pe_res4", position.T.reshape(recorded.shape[1:]).expand_as(recorded), recorded)


def check_predictor(recording: Recording, result: Comparison) -> None:
    sizes, inputs = recording.meta["cfg"], recording.inputs
    config = SegmentationDecoderConfig(
        hidden_size=sizes["hidden_dim"], mask_size=sizes["mask_dim"], num_heads=sizes["nheads"],
        decoder_layers=sizes["dec_layers"], ffn_size=sizes["dim_feedforward"],
    )  # fmt: skip
    decoder = MaskedAttentionDecoder(config, sizes["num_queries"])
    load_recorded(decoder, "predictor", released.MASK_DECODER, recording.weights)
    levels = tuple(inputs[f"ms{index}"] for index in range(3))
    text = inputs["SEG_embedding"]
    heads = decoder(PixelFeatures(inputs["mask_features"], levels), inputs["seg_query"][:, None], text)
    names = [*(f"aux{index}" for index in range(len(heads) - 1)), "pred"]
    for name, head in zip(names, heads, strict=True):
        _compare_head(name, head, recording, result)
    pixels = PixelFeatures(inputs["mask_features_neg"], levels)
    heads = decoder(pixels, inputs["seg_query"].abs()[:, None], text)
    _compare_head("neg_pred", heads[-1], recording, result)
    shares = [_share_blocked(head, levels[index % 3]) for index, head in enumerate(heads[:-1])]
    result.close("share of fully blocked rows", torch.tensor(shares), torch.tensor(recording.meta["blocked_rows_neg"]))


def _compare_head(name: str, head: Proposals, recording: Recording, result: Comparison) -> None:
    masks = "pred_masks" if name == "pred" else f"{name}_masks"
    scores = "pred_SEG_logits" if name == "pred" else f"{name}_SEG_logits"
    result.close(masks, head.mask_logits[:, 0], recording.outputs[masks])
    result.close(scores, head.score_logits[:, 0, :, None], recording.outputs[scores])


def _share_blocked(head: Proposals, level: Tensor) -> float:
    """Share of queries whose mask has no foreground at a level, and which therefore attend everywhere."""
    small = nn.functional.interpolate(head.mask_logits.flatten(1, 2), size=level.shape[-2:], mode="bilinear")
    return float((small.sigmoid() < 0.5).flatten(2).all(-1).float().mean())
