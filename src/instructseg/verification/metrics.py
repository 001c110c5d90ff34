"""Our metrics against recorded values of DAVIS's and ReVOS's evaluators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from instructseg.evaluation.metrics import (
    FrameStatistics,
    contour_accuracy,
    match_proposals,
    pixel_accuracy,
    region_similarity,
    released_pixel_accuracy,
    released_robustness,
    robustness,
)
from instructseg.media.masks import probabilities_to_labels
from instructseg.verification.recorded import Comparison, Recorded

REVOS_PREDICTION = 1
"""ReVOS's values were recorded for the first object against this prediction."""


def check_metrics(file: Recorded, result: Comparison) -> None:
    """J and F of every object with every prediction, matched and summed up; ReVOS's A and R; soft masks merged."""
    gt, pred, void = (file.inputs[name].numpy() > 0 for name in ("gt", "pred", "void"))
    for suffix, hole in (("", None), ("_void", void)):
        for name, score in (("J", region_similarity), ("F", contour_accuracy)):
            values = np.stack([np.stack([score(answer, truth, hole) for answer in pred]) for truth in gt])
            _close(result, f"{name}{suffix}", values, file)
    _check_matching(file, result, gt, pred, void)
    _check_revos(file, result, gt[0], pred[REVOS_PREDICTION])
    labels = probabilities_to_labels(file.inputs["soft"].numpy())
    result.equal("soft_merge", torch.from_numpy(labels), file.outputs["soft_merge"])


def _check_matching(file: Recorded, result: Comparison, gt: np.ndarray, pred: np.ndarray, void: np.ndarray) -> None:
    """The toolkit lists matched objects in the order of their proposals, we in their own."""
    matching = match_proposals(pred.swapaxes(0, 1), gt.swapaxes(0, 1), void)
    order = np.argsort(matching.proposals)
    similarity, accuracy = matching.similarity[order], matching.accuracy[order]
    _close(result, "unsup_J", similarity, file)
    _close(result, "unsup_F", accuracy, file)
    rows = [
        [value for frames in both for value in _statistics(frames)] for both in zip(similarity, accuracy, strict=True)
    ]
    _close(result, "stats", np.array(rows), file)


def _statistics(frames: np.ndarray) -> tuple[float, float, float]:
    found = FrameStatistics.of(frames)
    return found.mean, found.recall, found.decay


def _check_revos(file: Recorded, result: Comparison, gt: np.ndarray, pred: np.ndarray) -> None:
    foreground = file.inputs["foreground"].numpy()

    def frames(score: Callable[..., float], *others: np.ndarray) -> np.ndarray:
        return np.array([score(*each) for each in zip(pred, gt, *others, strict=True)])

    _close(result, "revos_J", region_similarity(pred, gt), file)
    _close(result, "revos_F", contour_accuracy(pred, gt), file)
    _close(result, "A_binary", frames(pixel_accuracy), file)
    _close(result, "A_released", frames(released_pixel_accuracy), file)
    _close(result, "R_binary", frames(robustness, foreground > 0), file)
    _close(result, "R_released", frames(released_robustness, foreground), file)


def _close(result: Comparison, name: str, ours: np.ndarray, file: Recorded) -> None:
    result.close(name, torch.from_numpy(np.asarray(ours)), file.outputs[name])
