"""A random checkpoint with exactly the names, shapes and types of the authors' released one, at any size.

With it, conversion can be tested, and its memory measured, without the real checkpoint.
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import Tensor
from transformers import PreTrainedTokenizerFast

Shape = tuple[int, ...]
SHARD_BYTES = 5_000_000_000
END, SEG = "<|endoftext|>", "[SEG]"


@dataclass(frozen=True)
class Sizes:
    """The released sizes."""

    words: int = 50296
    output_words: int = 51200
    width: int = 2560
    ffn: int = 10240
    layers: int = 32
    eye_width: int = 1152
    eye_ffn: int = 4304
    eye_layers: int = 27
    eye_patches: int = 729
    eye_patch: int = 14
    swin_width: int = 128
    swin_depths: Shape = (2, 2, 18, 2)
    swin_heads: Shape = (4, 8, 16, 32)
    window: int = 12
    decoder: int = 256
    pixel_layers: int = 6
    pixel_ffn: int = 1024
    heads: int = 8
    mask_layers: int = 9
    mask_ffn: int = 2048
    queries: int = 100
    latents: int = 128
    resampler_inner: int = 1024
    resampler_layers: int = 3
    fusion: int = 1024


def linear(name: str, rows: int, columns: int, *more: int) -> dict[str, Shape]:
    return {f"{name}.weight": (rows, columns, *more), f"{name}.bias": (rows,)}


def norm(name: str, size: int) -> dict[str, Shape]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def language_model(s: Sizes) -> dict[str, Shape]:
    found: dict[str, Shape] = {"model.embed_tokens.weight": (s.words, s.width)}
    for index in range(s.layers):
        layer = f"model.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "dense"):
            found |= linear(f"{layer}.self_attn.{part}", s.width, s.width)
        found |= linear(f"{layer}.mlp.fc1", s.ffn, s.width) | linear(f"{layer}.mlp.fc2", s.width, s.ffn)
        found |= norm(f"{layer}.input_layernorm", s.width)
    return found | norm("model.final_layernorm", s.width)


def clip_encoder(s: Sizes) -> dict[str, Shape]:
    root, width = "model.vision_tower.vision_model", s.eye_width
    found = linear(f"{root}.embeddings.patch_embedding", width, 3, s.eye_patch, s.eye_patch)
    found |= {f"{root}.embeddings.position_embedding.weight": (s.eye_patches, width)}
    for index in range(s.eye_layers):
        layer = f"{root}.encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found |= linear(f"{layer}.self_attn.{part}", width, width)
        found |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
        found |= linear(f"{layer}.mlp.fc1", s.eye_ffn, width) | linear(f"{layer}.mlp.fc2", width, s.eye_ffn)
    head = f"{root}.head"
    found |= norm(f"{root}.post_layernorm", width) | norm(f"{head}.layernorm", width)
    found |= {f"{head}.probe": (1, 1, width)} | fused_attention(f"{head}.attention", width)
    return found | linear(f"{head}.mlp.fc1", s.eye_ffn, width) | linear(f"{head}.mlp.fc2", width, s.eye_ffn)


def fused_attention(name: str, size: int) -> dict[str, Shape]:
    fused = {f"{name}.in_proj_weight": (3 * size, size), f"{name}.in_proj_bias": (3 * size,)}
    return fused | linear(f"{name}.out_proj", size, size)


def swin(s: Sizes) -> dict[str, Shape]:
    root = "model.vision_tower_mask"
    found = linear(f"{root}.patch_embed.proj", s.swin_width, 3, 4, 4) | norm(f"{root}.patch_embed.norm", s.swin_width)
    for stage, (depth, heads) in enumerate(zip(s.swin_depths, s.swin_heads, strict=True)):
        width = s.swin_width * 2**stage
        for index in range(depth):
            block = f"{root}.layers.{stage}.blocks.{index}"
            found |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
            found |= {
                f"{block}.attn.relative_position_bias_table": ((2 * s.window - 1) ** 2, heads),
                f"{block}.attn.relative_position_index": (s.window**2, s.window**2),
            }
            found |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
            found |= linear(f"{block}.mlp.fc1", 4 * width, width) | linear(f"{block}.mlp.fc2", width, 4 * width)
        if stage < 3:
            merge = f"{root}.layers.{stage}.downsample"
            found |= {f"{merge}.reduction.weight": (2 * width, 4 * width)} | norm(f"{merge}.norm", 4 * width)
        found |= norm(f"{root}.norm{stage}", width)
    return found


def pixel_decoder(s: Sizes) -> dict[str, Shape]:
    root, size = "pixel_decoder", s.decoder
    found: dict[str, Shape] = {f"{root}.transformer.level_embed": (3, size)}
    for index, factor in enumerate((8, 4, 2)):
        found |= linear(f"{root}.input_proj.{index}.0", size, factor * s.swin_width, 1, 1)
        found |= norm(f"{root}.input_proj.{index}.1", size)
    for index in range(s.pixel_layers):
        layer, samples = f"{root}.transformer.encoder.layers.{index}", s.heads * 3 * 4
        found |= linear(f"{layer}.self_attn.sampling_offsets", 2 * samples, size)
        found |= linear(f"{layer}.self_attn.attention_weights", samples, size)
        for part in ("value_proj", "output_proj"):
            found |= linear(f"{layer}.self_attn.{part}", size, size)
        found |= norm(f"{layer}.norm1", size) | norm(f"{layer}.norm2", size)
        found |= linear(f"{layer}.linear1", s.pixel_ffn, size) | linear(f"{layer}.linear2", size, s.pixel_ffn)
    found |= linear(f"{root}.mask_features", size, size, 1, 1)
    found |= linear(f"{root}.adapter_1.0", size, s.swin_width, 1, 1) | norm(f"{root}.adapter_1.1", size)
    return found | linear(f"{root}.layer_1.0", size, size, 3, 3) | norm(f"{root}.layer_1.1", size)


def predictor(s: Sizes) -> dict[str, Shape]:
    root, size = "predictor", s.decoder
    found: dict[str, Shape] = {
        f"{root}.query_feat.weight": (s.queries, size), f"{root}.query_embed.weight": (s.queries, size),
        f"{root}.SEG_query_embed.weight": (s.queries + 1, size), f"{root}.level_embed.weight": (3, size),
    }  # fmt: skip
    for index in range(s.mask_layers):
        own, cross = (f"{root}.transformer_{kind}_attention_layers.{index}" for kind in ("self", "cross"))
        ffn = f"{root}.transformer_ffn_layers.{index}"
        found |= fused_attention(f"{own}.self_attn", size) | norm(f"{own}.norm", size)
        found |= fused_attention(f"{cross}.multihead_attn", size) | norm(f"{cross}.norm", size)
        found |= linear(f"{ffn}.linear1", s.mask_ffn, size) | linear(f"{ffn}.linear2", size, s.mask_ffn)
        found |= norm(f"{ffn}.norm", size)
    for name, depth in (("mask_embed", 3), ("SEG_proj", 2)):
        for index in range(depth):
            found |= linear(f"{root}.{name}.layers.{index}", size, size)
    return found | norm(f"{root}.decoder_norm", size)


def resampler(root: str, width: int, s: Sizes) -> dict[str, Shape]:
    found: dict[str, Shape] = norm(f"{root}.norm", width)
    for index in range(s.resampler_layers):
        attention, ffn = f"{root}.layers.{index}.0", f"{root}.layers.{index}.1"
        for name in (f"{attention}.norm_media", f"{attention}.norm_latents", f"{ffn}.0"):
            found |= norm(name, width)
        found |= {
            f"{attention}.to_q.weight": (s.resampler_inner, width),
            f"{attention}.to_kv.weight": (2 * s.resampler_inner, width),
            f"{attention}.to_out.weight": (width, s.resampler_inner),
            f"{ffn}.1.weight": (2 * width, width),
            f"{ffn}.3.weight": (width, 2 * width),
        }
    return found


def components(s: Sizes) -> dict[str, dict[str, Shape]]:
    """Every tensor, by the parts of the parameter budget."""
    words = {key: shape for key, shape in language_model(s).items() if "embed_tokens" in key}
    deepest = 8 * s.swin_width
    return {
        "layers": {key: shape for key, shape in language_model(s).items() if key not in words},
        "embed": words,
        "lm_head": {"lm_head.weight": (s.output_words, s.width)},
        "siglip": clip_encoder(s),
        "projector": linear("model.mm_projector.0", s.width, s.eye_width)
        | linear("model.mm_projector.2", s.width, s.width),
        "swin": swin(s),
        "pixel_decoder": pixel_decoder(s),
        "predictor": predictor(s),
        "ovp": resampler("ovp_layers", s.width, s),
        "vmtf": resampler("vmtf_layers", s.fusion, s),
        "projections": linear("text_vmtf_projector", s.fusion, s.width)
        | linear("origin_SEG_token_projector", s.fusion, s.width)
        | linear("local_project", s.fusion, deepest, 1, 1)
        | linear("SEG_token_projector", s.decoder, 2 * s.fusion)
        | linear("seg_query_projector", s.decoder, s.width),
        "queries": {"seg_query": (s.queries, s.width), "temporal_query": (s.latents, s.width)},
    }


def released_shapes(s: Sizes | None = None) -> dict[str, Shape]:
    return {key: shape for part in components(s or Sizes()).values() for key, shape in part.items()}


def random_tensor(key: str, shape: Shape, generator: torch.Generator) -> Tensor:
    """Weights that keep activations small: norms near one, matrices by their inputs; index buffers are integers."""
    if key.endswith("relative_position_index"):
        return torch.zeros(shape, dtype=torch.long)
    noise = torch.empty(shape, dtype=torch.float16).normal_(generator=generator)
    if len(shape) == 1:
        return noise.mul_(0.05).add_(1.0 if "norm" in key and key.endswith("weight") else 0.0)
    return noise.mul_(1 / math.sqrt(math.prod(shape[1:])))


def write(folder: Path, sizes: Sizes, shard_bytes: int = SHARD_BYTES, seed: int = 0) -> None:
    """Shards, index and a tokenizer of single characters; one tensor in memory at a time."""
    folder.mkdir(parents=True)
    shards: list[dict[str, Shape]] = [{}]
    size = 0
    for key, shape in released_shapes(sizes).items():
        grown = math.prod(shape) * (8 if key.endswith("index") else 2)
        if shards[-1] and size + grown > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][key] = shape
        size += grown
    names = [f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors" for number in range(len(shards))]
    generator = torch.Generator().manual_seed(seed)
    for name, shard in zip(names, shards, strict=True):
        write_shard(folder / name, ((key, random_tensor(key, shape, generator)) for key, shape in shard.items()), shard)
    index = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index}), encoding="utf-8"
    )
    tokenizer(sizes.words).save_pretrained(folder)


def write_shard(file: Path, tensors: Iterator[tuple[str, Tensor]], shapes: dict[str, Shape]) -> None:
    """The safetensors format, streamed: the length of the header, the header, the tensors' bytes."""
    header: dict[str, dict[str, Any]] = {"__metadata__": {"format": "pt"}}
    end = 0
    for key, shape in shapes.items():
        kind, width = ("I64", 8) if key.endswith("index") else ("F16", 2)
        start, end = end, end + math.prod(shape) * width
        header[key] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in tensors:
            stream.write(tensor.numpy().tobytes())


def tokenizer(words: int) -> PreTrainedTokenizerFast:
    """Characters as tokens, [SEG] as the last of `words` ids, as far as the vocabulary reaches."""
    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {character: at for at, character in enumerate(characters[: words - 2])}
    vocabulary |= {END: words - 2, SEG: words - 1}
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE(vocabulary, [])), eos_token=END, pad_token=END)
    fast.add_tokens(SEG, special_tokens=True)
    return fast
