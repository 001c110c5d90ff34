"""Time, FLOPs and bytes of each stage of the forward, beside the machine's limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from instructseg.bench.roofline import Limits, count_flops, tensor_bytes
from instructseg.bench.timing import seconds_of, spread
from instructseg.inference.segmenter import Segmenter
from instructseg.model.outputs import VisualFeatures
from instructseg.types import Task


@dataclass(frozen=True)
class Stage:
    """A call, the modules whose weights it reads, and its inputs."""

    call: Callable[[], Any]
    modules: tuple[nn.Module | None, ...]
    inputs: tuple[Any, ...]

    @property
    def weights(self) -> int:
        """Bytes of the modules' weights."""
        return sum(tensor_bytes(list(module.parameters())) for module in self.modules if module is not None)


@torch.inference_mode()
def stages_of(segmenter: Segmenter, image: np.ndarray, texts: Sequence[str]) -> dict[str, Stage]:
    """The stages for one photo and some texts, each ready to be run again and again."""
    model, processor = segmenter.model, segmenter.processor
    inputs = processor([[image]], [list(texts)], [Task.RES]).to(model.device, model.dtype)
    pixels, clip, layout, index = (
        inputs.pixel_values, inputs.clip_pixel_values, inputs.layout, inputs.reference_index,
    )  # fmt: skip
    maps = tuple(model.backbone(pixels).feature_maps)
    tokens = model.encode_tokens(None if clip is not None else pixels, clip)
    visual = model.encode_image(pixels, clip)
    references = model.perceive(visual, layout, index)
    hidden = model.reason(layout, visual, references)
    text = model.fuse(hidden, visual)
    shown = VisualFeatures(tokens, maps[-1], visual.pixels, visual.seeds)
    stages = {
        "preparing the photo": Stage(lambda: processor.prepare_images([image]), (), (torch.from_numpy(image),)),
        "fine-grained encoder": Stage(lambda: model.backbone(pixels).feature_maps, (model.backbone,), (pixels,)),
        "pixel decoder": Stage(lambda: model.pixel_decoder(maps), (model.pixel_decoder,), maps),
    }
    if clip is not None:
        stages["CLIP-type encoder"] = Stage(lambda: model.encode_tokens(None, clip), (model.vision_tokens,), (clip,))
    return stages | {
        "perceiver": Stage(lambda: model.perceive(shown, layout, index), (model.perceiver,), (tokens,)),
        "language model": Stage(lambda: model.reason(layout, shown, references), (_layers(model.language_model),),
                                (tokens, references)),
        "text fusion": Stage(lambda: model.fuse(hidden, shown), (model.text_fusion,),
                             (hidden.word_embeddings, maps[-1])),
        "mask decoder": Stage(lambda: model.decode(shown, hidden.mask_embeddings, text, hidden.words)[-1],
                              (model.mask_decoder,), (replace(shown, tokens=None),)),
    }  # fmt: skip


def _layers(language_model: nn.Module) -> nn.Module:
    """The layers alone: of the word embeddings only a few rows are read."""
    return getattr(language_model, "layers", language_model)


@torch.inference_mode()
def measure_stages(
    segmenter: Segmenter, image: np.ndarray, texts: Sequence[str], limits: Limits, runs: int
) -> dict[str, Any]:
    """A row for each stage: seconds, FLOPs, bytes, the least seconds, and the share of the limit that is reached."""
    device = segmenter.model.device
    segmenter.model.requires_grad_(False)  # the counter of FLOPs would follow gradients
    rows: dict[str, Any] = {}
    for name, stage in stages_of(segmenter, image, texts).items():
        output = stage.call()
        flops, moved = count_flops(stage.call), stage.weights + tensor_bytes(stage.inputs, output)
        seconds = spread([seconds_of(stage.call, device) for _ in range(runs)])
        least = limits.seconds(flops, moved)
        rows[name] = {
            "seconds": seconds, "gflop": flops / 1e9, "megabytes": moved / 1e6, "least_seconds": least,
            "share_of_limit": least / seconds["median"], "share_of_gemm": flops / limits.flops / seconds["median"],
            "bound": "arithmetic" if flops / limits.flops >= moved / limits.bytes else "memory",
        }  # fmt: skip
    return rows
