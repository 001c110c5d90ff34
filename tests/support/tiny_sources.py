"""Tiny random models of transformers under the names of the projects we convert from."""

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    PhiConfig,
    PhiForCausalLM,
    SiglipConfig,
    SiglipModel,
    SwinConfig,
)

from benchmarks.speed import released_checkpoint
from instructseg.model.configuration import InstructSegConfig

PHI = {
    "vocab_size": 90, "hidden_size": 40, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4,
    "hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.4},
}  # fmt: skip
SIGLIP = {
    "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 7, "hidden_act": "gelu_pytorch_tanh",
}  # fmt: skip
SWIN = {
    "embed_dim": 8, "depths": [2, 1, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 4, "image_size": 64,
    "drop_path_rate": 0.0, "out_features": ["stage1", "stage2", "stage3", "stage4"],
}  # fmt: skip
QUERIES = 6


def config(**changes: object) -> InstructSegConfig:
    """Our configuration with the sizes above."""
    return InstructSegConfig(**{
        "text_config": {"model_type": "phi", **PHI},
        "vision_config": {"model_type": "siglip_vision_model", **SIGLIP, "vision_use_head": False},
        "backbone_config": {"model_type": "swin", **SWIN},
        "perceiver_config": {"num_latents": 3, "depth": 2, "num_heads": 2, "head_dim": 8},
        "text_fusion_config": {"hidden_size": 16, "depth": 2, "num_heads": 2, "head_dim": 8},
        "decoder_config": {"hidden_size": 32, "mask_size": 32, "num_heads": 4, "pixel_layers": 2, "pixel_ffn_size": 24,
                           "decoder_layers": 3, "ffn_size": 40},
        "num_mask_tokens": QUERIES, "lm_head_size": PHI["vocab_size"], **changes,
    })  # fmt: skip


def shake(module: nn.Module) -> nn.Module:
    """Move all weights away from zeros and ones, which would hide wiring faults."""
    with torch.no_grad():
        for tensor in [*module.parameters()]:
            tensor += 0.1 * torch.randn(tensor.shape)
    return module.eval()


def phi() -> PhiForCausalLM:
    return shake(PhiForCausalLM(PhiConfig(**PHI)))


def siglip() -> SiglipModel:
    text = {"hidden_size": 24, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "vocab_size": 11, "max_position_embeddings": 4}  # fmt: skip
    return shake(SiglipModel(SiglipConfig(vision_config=SIGLIP, text_config=text)))


def mask2former() -> Mask2FormerForUniversalSegmentation:
    sizes = Mask2FormerConfig(
        backbone_config=SwinConfig(**SWIN), feature_size=32, mask_feature_size=32, hidden_dim=32,
        encoder_feedforward_dim=24, encoder_layers=2, decoder_layers=4, num_attention_heads=4, dim_feedforward=40,
        num_queries=QUERIES, dropout=0.0,
    )  # fmt: skip
    return shake(Mask2FormerForUniversalSegmentation(sizes))


def write_siglip(folder: Path, model: SiglipModel) -> Path:
    """As Google's files name it."""
    folder.mkdir()
    torch.save(_with_prefix(model.state_dict()), folder / "pytorch_model.bin")
    return folder


def _with_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Older files have a level more: vision_model.vision_model of today's module is their vision_model."""
    return {re.sub(r"^(vision|text)_model\.(\1_model\.)?", r"\1_model.", key): value for key, value in state.items()}


def write_mipha(folder: Path, words: PhiForCausalLM, eyes: SiglipModel, projector: nn.Module) -> Path:
    state = words.state_dict()
    for key, value in _with_prefix(eyes.state_dict()).items():
        if key.startswith("vision_model."):
            state[f"model.vision_tower.{key}"] = value
    state |= {f"model.mm_projector.{key}": value for key, value in projector.state_dict().items()}
    folder.mkdir()
    torch.save(state, folder / "pytorch_model.bin")
    released_checkpoint.tokenizer(PHI["vocab_size"]).save_pretrained(folder)
    return folder


def write_mask2former(file: Path, model: Mask2FormerForUniversalSegmentation) -> Path:
    arrays = {key: value.numpy() for key, value in detectron2_names(model.state_dict()).items()}
    file.write_bytes(pickle.dumps({"model": arrays, "__author__": "test"}))
    return file


NAMES = [
    (r"^model\.pixel_level_module\.encoder\.hidden_states_norms\.stage(\d)", lambda m: f"backbone.norm{int(m[1]) - 1}"),
    (r"^model\.pixel_level_module\.encoder\.swin\.embeddings\.patch_embeddings\.projection",
     "backbone.patch_embed.proj"),
    (r"^model\.pixel_level_module\.encoder\.swin\.embeddings\.norm", "backbone.patch_embed.norm"),
    (r"^model\.pixel_level_module\.encoder\.swin\.encoder\.", "backbone."),
    (r"layernorm_before", "norm1"),
    (r"layernorm_after", "norm2"),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.relative_position_bias\.", "attn."),
    (r"attention\.([qkv])_proj", r"attn.\1"),
    (r"^model\.pixel_level_module\.decoder\.", "sem_seg_head.pixel_decoder."),
    (r"input_projections", "input_proj"),
    (r"pixel_decoder\.level_embed", "pixel_decoder.transformer.level_embed"),
    (r"pixel_decoder\.encoder", "pixel_decoder.transformer.encoder"),
    (r"(transformer\.encoder\.layers\.\d+)\.self_attn_layer_norm", r"\1.norm1"),
    (r"(transformer\.encoder\.layers\.\d+)\.final_layer_norm", r"\1.norm2"),
    (r"(transformer\.encoder\.layers\.\d+)\.fc", r"\1.linear"),
    (r"mask_projection", "mask_features"),
    (r"(adapter_1|layer_1)\.0", r"\1"),
    (r"(adapter_1|layer_1)\.1", r"\1.norm"),
    (r"^model\.transformer_module\.decoder\.layernorm", "sem_seg_head.predictor.decoder_norm"),
    (r"^model\.transformer_module\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0",
     r"sem_seg_head.predictor.mask_embed.layers.\1"),
    (r"^model\.transformer_module\.queries_embedder", "sem_seg_head.predictor.query_embed"),
    (r"^model\.transformer_module\.queries_features", "sem_seg_head.predictor.query_feat"),
    (r"^model\.transformer_module\.level_embed", "sem_seg_head.predictor.level_embed"),
    (r"^class_predictor", "sem_seg_head.predictor.class_embed"),
    (r"^model\.transformer_module\.decoder\.layers\.(\d+)\.(self|cross)_attn_layer_norm",
     r"sem_seg_head.predictor.transformer_\2_attention_layers.\1.norm"),
    (r"^model\.transformer_module\.decoder\.layers\.(\d+)\.self_attn",
     r"sem_seg_head.predictor.transformer_self_attention_layers.\1.self_attn"),
    (r"^model\.transformer_module\.decoder\.layers\.(\d+)\.cross_attn",
     r"sem_seg_head.predictor.transformer_cross_attention_layers.\1.multihead_attn"),
    (r"^model\.transformer_module\.decoder\.layers\.(\d+)\.final_layer_norm",
     r"sem_seg_head.predictor.transformer_ffn_layers.\1.norm"),
    (r"^model\.transformer_module\.decoder\.layers\.(\d+)\.fc",
     r"sem_seg_head.predictor.transformer_ffn_layers.\1.linear"),
]  # fmt: skip


def detectron2_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' Mask2Former under detectron2's names, written down apart from our own tables."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        if "encoder.swin.layernorm" in key:
            continue
        for pattern, name in NAMES:
            key = re.sub(pattern, name, key)
        renamed[key] = value
    for key in [key for key in renamed if re.search(r"attn\.q\.", key)]:
        renamed[key.replace("attn.q.", "attn.qkv.")] = torch.cat(
            [renamed.pop(key.replace("attn.q.", f"attn.{part}.")) for part in "qkv"]
        )
    for key in [key for key in renamed if re.search(r"self_attn\.q_proj\.", key)]:
        fused = re.sub(r"q_proj\.(\w+)$", r"in_proj_\1", key)
        renamed[fused] = torch.cat([renamed.pop(key.replace("q_proj", f"{part}_proj")) for part in "qkv"])
    for stage, depth in enumerate(SWIN["depths"]):
        for block in range(depth):
            index = f"backbone.layers.{stage}.blocks.{block}.attn.relative_position_index"
            renamed[index] = torch.zeros(16, 16, dtype=torch.long)
    return renamed
