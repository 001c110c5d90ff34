"""Whether the device gives the CPU's answers, with the same weights, within a stated tolerance."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from instructseg.bench.gpu.part import PartResult, Settings
from instructseg.bench.inputs import TEXTS, example_photos
from instructseg.bench.models import describe, open_model
from instructseg.inference.segmenter import Segmenter
from instructseg.model.outputs import InstructSegOutput
from instructseg.types import Task

TOLERANCE = {"float32": 2e-3, "bfloat16": 0.1}
"""Largest mean difference of mask logits, as a share of their standard deviation."""
IOU = {"float32": 0.999, "bfloat16": 0.97}
"""Smallest IoU of all proposals' masks together, counted in pixels."""


def answers(settings: Settings, result: PartResult) -> None:
    """Mask logits and scores of the device in float32 and bfloat16, against the CPU's in float32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    segmenter = open_model(settings.scale, settings.device, "float32", settings.seed, settings.model)
    result.update(describe(segmenter, settings.scale, settings.seed))
    photos = example_photos(1 if settings.scale == "paper" else 3)
    model = segmenter.model
    found = {"float32": [forward(segmenter, photo) for photo in photos]}
    reference = Segmenter(copy.deepcopy(model).to("cpu"), segmenter.processor)  # pyright: ignore[reportArgumentType]
    expected = [forward(reference, photo) for photo in photos]
    result.update({"float32": compare(found["float32"], expected, "float32")})
    model.to(torch.bfloat16)  # pyright: ignore[reportArgumentType] transformers wraps `to` without its self
    found["bfloat16"] = [forward(segmenter, photo) for photo in photos]
    result.update({"bfloat16": compare(found["bfloat16"], expected, "bfloat16")})
    assert all(result.content[name]["within_tolerance"] for name in found), "answers differ by more than the tolerance"


@torch.inference_mode()
def forward(segmenter: Segmenter, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mask logits and scores of two texts, float32 arrays."""
    model = segmenter.model
    inputs = segmenter.processor([[photo]], [list(TEXTS[:2])], [Task.RES]).to(model.device, model.dtype)
    output: InstructSegOutput = model(**inputs.model_kwargs)
    assert output.mask_logits is not None and output.score_logits is not None
    return output.mask_logits.float().cpu().numpy(), output.score_logits.float().cpu().numpy()


def compare(found: list, expected: list, dtype: str) -> dict[str, Any]:
    """Differences of logits as shares of their standard deviation, the masks' IoU, and the verdict."""
    (masks, scores), (true_masks, true_scores) = (
        [np.concatenate([each[part].ravel() for each in side]) for part in (0, 1)] for side in (found, expected)
    )
    spread = float(true_masks.std()) or 1.0
    joined = int(((masks > 0) | (true_masks > 0)).sum())
    iou = float(((masks > 0) & (true_masks > 0)).sum() / joined) if joined else 1.0
    mean = float(np.abs(masks - true_masks).mean()) / spread
    return {
        "mean_difference_of_mask_logits": mean, "largest_difference": float(np.abs(masks - true_masks).max()) / spread,
        "largest_difference_of_score_logits": float(np.abs(scores - true_scores).max()), "iou": iou,
        "tolerance": TOLERANCE[dtype], "least_iou": IOU[dtype],
        "within_tolerance": bool(mean <= TOLERANCE[dtype] and iou >= IOU[dtype]),
    }  # fmt: skip
