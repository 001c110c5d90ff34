"""Compare our metrics with recorded values of DAVIS's and ReVOS's evaluators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from instructseg.media.masks import probabilities_to_labels
from instructseg.metrics import (
    FrameStatistics,
    contour_accuracy,
    match_proposals,
    pixel_accuracy,
    region_similarity,
    released_pixel_accuracy,
    released_robustness,
    robustness,
)
from instructseg.verification.recording import Comparison, Recording

REVOS_PREDICTION = 1
"""Index of the prediction that ReVOS's values were recorded with, for the first object."""


def check_metrics(recording: Recording, result: Comparison) -> None:
    """J and F of every object with every prediction, their matching and statistics; ReVOS's A and R; merged masks."""
    gt, pred, void = (recording.inputs[name].numpy() > 0 for name in ("gt", "pred", "void"))
    for suffix, ignored in (("", None), ("_void", void)):
        for name, score in (("J", region_similarity), ("F", contour_accuracy)):
            values = np.stack([np.stack([score(mask, truth, ignored) for mask in pred]) for truth in gt])
            _close(result, f"{name}{suffix}", values, recording)
    _check_matching(recording, result, gt, pred, void)
    _check_revos(recording, result, gt[0], pred[REVOS_PREDICTION])
    labels = probabilities_to_labels(recording.inputs["soft"].numpy())
    result.equal("soft_merge", torch.from_numpy(labels), recording.outputs["soft_merge"])


def _check_matching(
    recording: Recording, result: Comparison, gt: np.ndarray, pred: np.ndarray, void: np.ndarray
) -> None:
    """The toolkit lists matched objects in proposal order, our metric in object order."""
    matching = match_proposals(list(pred.swapaxes(0, 1)), list(gt.swapaxes(0, 1)), list(void))
    order = np.argsort(matching.proposals)
    similarity, accuracy = matching.similarity[order], matching.accuracy[order]
    _close(result, "unsup_J", similarity, recording)
    _close(result, "unsup_F", accuracy, recording)
    statistics = [[*_statistics(j), *_statistics(f)] for j, f in zip(similarity, accuracy, strict=True)]
    _close(result, "stats", np.array(statistics), recording)


def _statistics(frames: np.ndarray) -> tuple[float, float, float]:
    statistics = FrameStatistics.of(frames)
    return statistics.mean, statistics.recall, statistics.decay


def _check_revos(recording: Recording, result: Comparison, gt: np.ndarray, pred: np.ndarray) -> None:
    foreground = recording.inputs["foreground"].numpy()

    def per_frame(score: Callable[..., float], *others: np.ndarray) -> np.ndarray:
        return np.array([score(*frame) for frame in zip(pred, gt, *others, strict=True)])

    _close(result, "revos_J", region_similarity(pred, gt), recording)
    _close(result, "revos_F", contour_accuracy(pred, gt), recording)
    _close(result, "A_binary", per_frame(pixel_accuracy), recording)
    _close(result, "A_released", per_frame(released_pixel_accuracy), recording)
    _close(result, "R_binary", per_frame(robustness, foreground > 0), recording)
    _close(result, "R_released", per_frame(released_robustness, foreground), recording)


def _close(result: Comparison, name: str, ours: np.ndarray | float, recording: Recording) -> None:
    result.close(name, torch.from_numpy(np.asarray(ours)), recording.outputs[name])
