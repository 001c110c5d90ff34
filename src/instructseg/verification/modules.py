"""Compare our modules with recordings of the released ones, one function per file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import SwinBackbone, SwinConfig

from instructseg.conversion import mask2former, released
from instructseg.conversion.rename import Fresh, Rename
from instructseg.model.configuration import PerceiverConfig, SegmentationDecoderConfig, TextFusionConfig
from instructseg.model.deformable_attention import MultiScaleDeformableAttention
from instructseg.model.losses import Criterion, LossWeights, Targets
from instructseg.model.matching import match, pairwise_costs, sample_points
from instructseg.model.perceiver import ObjectAwareVideoPerceiver, PerceiverLayer
from instructseg.model.position import sine_position
from instructseg.model.segmentation_decoder import MaskedAttentionDecoder, PixelDecoder, PixelFeatures, Proposals
from instructseg.model.text_fusion import VisionGuidedMultiGranularityTextFusion
from instructseg.verification.recording import Comparison, RecordedPoints, Recording, load_recorded


def perceiver_sizes(meta: dict[str, int]) -> dict[str, Any]:
    """Sizes of a perceiver under our names, from the released names."""
    return {
        "depth": meta["depth"], "num_heads": meta["heads"], "head_dim": meta["dim_head"], "ffn_ratio": meta["ff_mult"],
    }  # fmt: skip


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
    """Compare the whole module, its projections set to the identity; detail tokens as queries change nothing."""
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


def check_criterion(recording: Recording, result: Comparison) -> None:
    """Compare costs, matches, losses and gradients of every head, with the recorded random points."""
    meta, inputs = recording.meta, recording.inputs
    masks = [inputs[f"target{index}"] for index in range(_count(inputs, "target"))]
    weights = LossWeights(mask=meta["weights"]["loss_mask"], dice=meta["weights"]["loss_dice"],
                          score=meta["weights"]["loss_SEG_class"])  # fmt: skip
    targets = one_instruction(masks)
    auxiliary = [f"aux{index}" for index in range(_count(inputs, "aux", ".pred_masks"))]
    levels = ["final", *auxiliary]
    heads = {level: _head(inputs, level) for level in levels}
    points = {
        level: [inputs[f"rand.{level}.{kind}"] for kind in (*(f"match{b}" for b in range(len(masks))), "over", "extra")]
        for level in levels
    }
    for level in levels:
        drawn = torch.cat(points[level][: len(masks)])
        _compare_matching(level, heads[level], targets, drawn, meta["cost"], recording, result)
    expressions = torch.ones(len(masks), 1, dtype=torch.bool)

    def criterion(chosen: list[str]) -> Criterion:
        drawn = [tensor for level in chosen for tensor in points[level]]
        return Criterion(weights, meta["num_points"], meta["oversample"], meta["importance"], RecordedPoints(drawn))

    with torch.enable_grad():
        for level in levels:
            parts = criterion([level]).segmentation([heads[level]], targets, expressions)
            suffix = "" if level == "final" else f"_{level[3:]}"
            for name, recorded in (("mask", "loss_mask"), ("dice", "loss_dice"), ("score", "loss_SEG_class")):
                result.close(f"{recorded}{suffix}", parts[name].view(1), recording.outputs[f"{recorded}{suffix}"])
        all_levels = criterion(levels)
        ordered = [heads[name] for name in (*auxiliary, "final")]
        total, _ = all_levels.total(all_levels.segmentation(ordered, targets, expressions))
        total.backward()
    result.close("total_weighted", total.view(1), recording.outputs["total_weighted"])
    for level, head in heads.items():
        masks, scores = gradient_of(head.mask_logits)[:, 0], gradient_of(head.score_logits)[:, 0, :, None]
        result.close(f"{level}.grad_masks", masks, recording.outputs[f"{level}.grad_masks"])
        result.close(f"{level}.grad_SEG", scores, recording.outputs[f"{level}.grad_SEG"])


def _count(names: dict[str, Tensor], prefix: str, suffix: str = "") -> int:
    """Number of names that are an integer between a prefix and a suffix."""
    matching = (name for name in names if name.startswith(prefix) and name.endswith(suffix))
    return sum(name.removeprefix(prefix).removesuffix(suffix).isdigit() for name in matching)


def _head(inputs: dict[str, Tensor], level: str) -> Proposals:
    masks, scores = inputs[f"{level}.pred_masks"][:, None], inputs[f"{level}.pred_SEG_logits"][:, None, :, 0]
    return Proposals(masks.clone().requires_grad_(), scores.clone().requires_grad_())


def gradient_of(tensor: Tensor) -> Tensor:
    """The gradient of a tensor. Raises ValueError when it has none."""
    if tensor.grad is None:
        raise ValueError(f"expected a gradient of a tensor of shape {list(tensor.shape)}, got none")
    return tensor.grad


def one_instruction(masks: list[Tensor]) -> Targets:
    """Targets with one instruction per image; its objects are padded to a common number."""
    most = max(map(len, masks))
    padded = torch.stack([nn.functional.pad(mask, (0, 0, 0, 0, 0, most - len(mask))) for mask in masks])
    valid = torch.tensor([[index < len(mask) for index in range(most)] for mask in masks])
    return Targets(padded[:, None], valid[:, None])


def _compare_matching(
    level: str, head: Proposals, targets: Targets, points: Tensor, weights: dict[str, float],
    recording: Recording, result: Comparison,
) -> None:  # fmt: skip
    logits, masks, valid = head.mask_logits[:, 0].detach(), targets.masks[:, 0].float(), targets.valid[:, 0]
    entropy, dice = pairwise_costs(sample_points(logits, points), sample_points(masks, points))
    cost = weights["mask"] * entropy + weights["dice"] * dice
    samples, queries, objects = match(logits, masks, valid, points, weights["mask"], weights["dice"])
    for index in range(len(masks)):
        result.close(f"{level}.cost{index}", cost[index][:, valid[index]], recording.outputs[f"{level}.cost{index}"])
        pairs = torch.stack([queries, objects])[:, samples == index]
        result.equal(f"{level}.match{index}", pairs, recording.outputs[f"{level}.match{index}"])
