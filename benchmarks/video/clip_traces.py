"""Candidates of a clip with ground truth, scored once for every way of linking and every presence threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.video.cut_clips import annotated
from instructseg.evaluation.scoring.clip_scorer import ResizedMasks
from instructseg.inference.segmenter import Segmenter
from instructseg.inference.video.candidates import Candidates
from instructseg.inference.video.linking import ABSENT, LinkWeights, PathLinker
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.tracker import FrameCandidates, Tracker
from instructseg.media.video import open_clip
from instructseg.metrics.video import frame_scores
from instructseg.types import ReferencePolicy, Sample

WAYS = ("off", "causal", "offline")
SIMILAR = ("apart", "crossing")
_MIN_IOU = 0.1  # minimum IoU of a mask with the object that it counts as following


@dataclass(frozen=True)
class PathScores:
    """The candidate of each frame along one path, before presence is decided.

    score: the score by which presence is judged, None where there is no candidate. j, f: J and F of the candidate's
        mask. follows: 0 the object of the expression, 1 the similar object, -1 neither; empty for clips without a
        similar object. overlap: IoU of the candidate with the previous frame's.
    """

    score: list[float | None]
    j: list[float]
    f: list[float]
    follows: list[int]
    overlap: list[float]


@dataclass(frozen=True)
class PresenceRule:
    """When an object counts as present: `video_threshold` and `video_contrast` of a configuration."""

    threshold: float
    contrast: float | None = None


ALWAYS = PresenceRule(0.0)


@dataclass(frozen=True)
class ExpressionTrace:
    """One expression of a clip. visible: the object's area in each frame, as a share of its maximum."""

    clip: str
    kind: str
    visible: list[float]
    ways: dict[str, PathScores]

    def present(self, way: str, rule: PresenceRule) -> list[bool]:
        """Whether the object counts as present in each frame; the path does not depend on the threshold."""
        scores = self.ways[way].score
        if way == "off":
            return [score is not None and score >= rule.threshold for score in scores]
        along = LinkWeights().presence(rule.threshold, rule.contrast)
        so_far = [along.step(*frame) for frame in zip(scores, self.ways[way].overlap, strict=True)]
        return so_far if way == "causal" else along.best_path()

    def scores(self, way: str, rule: PresenceRule, shown_only: bool = False) -> dict[str, float]:
        """Mean J and F over all frames, or over those that show the object (NaN without any).

        An empty mask is correct in a frame without the object.
        """
        path = self.ways[way]
        rows = [
            (j, f) if present else (float(not shown), float(not shown))
            for j, f, present, shown in zip(path.j, path.f, self.present(way, rule), self.visible, strict=True)
            if shown or not shown_only
        ]
        j, f = np.mean(rows, axis=0) if rows else (np.nan, np.nan)
        return {"J&F": (j + f) / 2, "J": j, "F": f}


def trace_clip(
    segmenter: Segmenter, sample: Sample, references: ReferencePolicy | None, every: int
) -> list[ExpressionTrace]:
    """One trace per expression, of every `every`-th frame; `references` None takes the model's rule."""
    texts = [expression.text for expression in sample.expressions]
    options = VideoOptions(task=sample.task, threshold=0.0, references=references, every=every)
    tracker = Tracker(segmenter, texts, options)
    answered = [(frame.index, seen) for frame, seen in tracker.run(open_clip(sample.frames, options.read_options))]
    numbers = [number for number, _ in answered]
    columns = zip(*(seen for _, seen in answered), strict=True)
    return [
        _trace(sample, place, numbers, column, linker)
        for place, (column, linker) in enumerate(zip(columns, tracker.linkers, strict=True))
    ]


def _trace(
    sample: Sample, place: int, numbers: list[int], seen: Sequence[FrameCandidates], linker: PathLinker
) -> ExpressionTrace:
    expression, candidates = sample.expressions[place], [each.candidates for each in seen]
    paths = {
        "off": [0 if len(each) else ABSENT for each in candidates],
        "causal": [each.selected for each in seen],
        "offline": linker.best_path(),
    }
    truth = [annotated(expression, number) for number in numbers]
    areas = np.array([mask.sum() for mask in truth], float)
    visible = [float(share) for share in areas / max(1.0, areas.max())]
    ways = _ways(candidates, paths, linker, truth, _similar(sample, place, numbers))
    return ExpressionTrace(sample.id, str(expression.kind), visible, ways)


def _similar(sample: Sample, place: int, numbers: Sequence[int]) -> list[np.ndarray]:
    """Masks of the similar object; none for clips without one."""
    if sample.expressions[place].kind not in SIMILAR:
        return []
    (other,) = (expression for at, expression in enumerate(sample.expressions) if at != place)
    return [annotated(other, number) for number in numbers]


def _ways(
    candidates: list[Candidates], paths: dict[str, list[int]], linker: PathLinker, truth: list[np.ndarray],
    other: list[np.ndarray],
) -> dict[str, PathScores]:
    """The paths share most candidates, so each candidate is scored once."""

    @cache
    def scored(number: int, choice: int) -> tuple[float | None, float, float, int]:
        target, frame = truth[number], candidates[number]
        own = frame.empty_mask() if choice == ABSENT else frame.mask(choice)
        mask = ResizedMasks([own], own.shape, target.shape)[0]
        assert mask is not None  # masks in, masks out
        follows = _follows(mask, [target, other[number]]) if other else 0
        score = None if choice == ABSENT else linker.presence_score(frame.scores, choice)
        return score, *frame_scores(mask, target), follows

    ways = {}
    for way, path in paths.items():
        score, j, f, follows = map(list, zip(*(scored(*step) for step in enumerate(path)), strict=True))
        ways[way] = PathScores(score, j, f, follows if other else [], linker.overlaps(path))
    return ways


def _follows(mask: np.ndarray, objects: list[np.ndarray]) -> int:
    overlaps = [(mask & target).sum() / max(1, (mask | target).sum()) for target in objects]
    best = int(np.argmax(overlaps))
    return best if overlaps[best] >= _MIN_IOU else -1
