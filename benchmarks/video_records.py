"""What a model sees in a clip whose truth is known, computed once for every way of linking and every threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from instructseg.evaluation.metrics.video import frame_scores
from instructseg.evaluation.scoring.clip_scorer import ResizedMasks
from instructseg.inference.segmenter import Segmenter
from instructseg.inference.video.candidates import Candidates
from instructseg.inference.video.linking import ABSENT, LinkWeights
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.presence import Presence
from instructseg.inference.video.tracker import Seen, Tracker
from instructseg.media.video import open_clip
from instructseg.types import Sample

WAYS = ("off", "causal", "offline")
ALIKE = ("apart", "crossing")
_ON_IT = 0.1  # least IoU of a mask with the object that it is said to follow


@dataclass(frozen=True)
class Answers:
    """What is answered in each frame along one path while the object is taken to be there.

    score: None where there is no candidate; j, f: of its mask; follows: 0 the object asked for, 1 the other alike
    one, -1 neither, and no entries for clips without an alike one.
    """

    score: list[float | None]
    j: list[float]
    f: list[float]
    follows: list[int]


@dataclass(frozen=True)
class Least:
    """What a score needs for its object to be there: `video_threshold` and `video_contrast` of a configuration."""

    threshold: float
    contrast: float | None = None


ALWAYS = Least(0.0)


@dataclass(frozen=True)
class Record:
    """One expression of a clip. visible: pixels of the object in each frame, as shares of its most."""

    clip: str
    kind: str
    visible: list[float]
    ways: dict[str, Answers]

    def there(self, way: str, least: Least) -> list[bool]:
        """Whether the object is said to be in each frame: the path is chosen before, and knows no threshold."""
        scores = self.ways[way].score
        if way == "off":
            return [score is not None and score >= least.threshold for score in scores]
        along = Presence(least.threshold, LinkWeights().change, least.contrast)
        so_far = [along.add(score) for score in scores]
        return so_far if way == "causal" else along.best_path()

    def scores(self, way: str, least: Least, shown_only: bool = False) -> dict[str, float]:
        """Mean J and F over all frames, or those that show the object (none: NaN); an empty mask is right in others."""
        answers = self.ways[way]
        rows = [
            (j, f) if there else (float(not seen), float(not seen))
            for j, f, there, seen in zip(answers.j, answers.f, self.there(way, least), self.visible, strict=True)
            if seen or not shown_only
        ]
        j, f = np.mean(rows, axis=0) if rows else (np.nan, np.nan)
        return {"J&F": (j + f) / 2, "J": j, "F": f}


def records(segmenter: Segmenter, sample: Sample, references: str | None, every: int) -> list[Record]:
    """One for each expression. Every frame taken is followed once; `references` None takes the model's rule."""
    texts = [expression.text for expression in sample.expressions]
    options = VideoOptions(task=sample.task, threshold=0.0, references=references, every=every)
    tracker = Tracker(segmenter, texts, options)
    answered = [(frame.index, seen) for frame, seen in tracker.run(open_clip(sample.frames, options.reading))]
    numbers = [number for number, _ in answered]
    columns = zip(*(seen for _, seen in answered), strict=True)
    return [
        _record(sample, place, numbers, column, linker.best_path())
        for place, (column, linker) in enumerate(zip(columns, tracker.linkers, strict=True))
    ]


def _record(sample: Sample, place: int, numbers: list[int], seen: Sequence[Seen], best: list[int]) -> Record:
    expression, candidates = sample.expressions[place], [each.candidates for each in seen]
    paths = {
        "off": [0 if len(each) else ABSENT for each in candidates],
        "causal": [each.choice for each in seen],
        "offline": best,
    }
    truth = [expression.masks[number] for number in numbers]
    areas = np.array([mask.sum() for mask in truth], float)
    visible = [float(share) for share in areas / max(1.0, areas.max())]
    return Record(
        sample.id, str(expression.kind), visible, _ways(candidates, paths, truth, _alike(sample, place, numbers))
    )


def _alike(sample: Sample, place: int, numbers: Sequence[int]) -> list[np.ndarray]:
    """Masks of the other of two alike things; none for clips that are not about that."""
    if sample.expressions[place].kind not in ALIKE:
        return []
    (other,) = (each for index, each in enumerate(sample.expressions) if index != place)
    return [other.masks[number] for number in numbers]


def _ways(
    candidates: list[Candidates], paths: dict[str, list[int]], truth: list[np.ndarray], other: list[np.ndarray]
) -> dict[str, Answers]:
    """The paths meet in most frames, so each candidate is scored once."""

    @cache
    def scored(number: int, choice: int) -> tuple[float | None, float, float, int]:
        target, many = truth[number], candidates[number]
        own = many.nothing() if choice == ABSENT else many.mask(choice)
        mask = ResizedMasks([own], own.shape, target.shape)[0]
        follows = _follows(mask, [target, other[number]]) if other else 0
        return None if choice == ABSENT else float(many.scores[choice]), *frame_scores(mask, target), follows

    ways = {}
    for way, path in paths.items():
        score, j, f, follows = map(list, zip(*(scored(*step) for step in enumerate(path)), strict=True))
        ways[way] = Answers(score, j, f, follows if other else [])
    return ways


def _follows(mask: np.ndarray, objects: list[np.ndarray]) -> int:
    overlaps = [(mask & each).sum() / max(1, (mask | each).sum()) for each in objects]
    best = int(np.argmax(overlaps))
    return best if overlaps[best] >= _ON_IT else -1
