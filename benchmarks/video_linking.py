"""J and F of linking proposals over time against taking each frame's best, identity switches, and presence.

    python benchmarks/video_linking.py --data DATA [--model nano] [--every 1] [--clips 20]

DATA holds davis2016 (15 sequences with hand-written expressions) and the photos of the recipe. Composed clips: two
alike things that cross (switches: share of steps at which another one is followed; J of the one followed first), and
one thing that enters and leaves (presence: share of frames in which "there" or "not there" is right). J and F without
a threshold, as the released code answers; presence with the model's own. Writes docs/results/video_linking.json.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
from crossing_clips import CROSSING, PASSING, ComposedClip, clips

from instructseg.data.readers.davis2016 import Davis2016
from instructseg.evaluation.metrics.video import frame_scores
from instructseg.inference.linking import LinkWeights
from instructseg.inference.presence import Presence
from instructseg.inference.segmenter import Segmenter
from instructseg.inference.video_prediction import VideoPrediction

THRESHOLDS = np.arange(0.02, 0.7, 0.02)
WAYS = ("off", "causal", "offline")
ROOT = Path(__file__).parents[1]


def davis(segmenter: Segmenter, root: Path, every: int, end: float | None) -> dict[str, dict]:
    """Mean J and F of each sequence's expressions, by sequence and over all."""
    table: dict[str, dict] = {}
    for split in ("val", "train"):
        for sample in Davis2016(root / "davis2016", split):
            texts = [expression.text for expression in sample.expressions]
            masks = sample.expressions[0].masks
            row = {}
            for way in WAYS:
                answer = segmenter.segment_video(sample.frames, texts, way, threshold=0.0, every=every, end=end)
                row[way] = _rounded(davis_scores(answer, masks))
            table[sample.id.split("/")[1]] = row
            print(sample.id, json.dumps(row), flush=True)
    table["mean"] = {
        way: _rounded({key: np.mean([row[way][key] for row in table.values()]) for key in ("J", "F", "J&F")})
        for way in WAYS
    }
    return table


def davis_scores(answer: VideoPrediction, truth) -> dict[str, float]:
    """Mean J and F; masks are compared at the truth's size."""
    pairs = []
    for number, frame in enumerate(answer.frames):
        target = truth[frame.index]
        size = target.shape[::-1]
        for mask in answer.masks(number):
            fitted = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
            pairs.append(frame_scores(fitted, target))
    j, f = np.mean(pairs, axis=0)
    return {"J": j, "F": f, "J&F": (j + f) / 2}


def crossing(segmenter: Segmenter, made: list[ComposedClip]) -> dict[str, dict]:
    table = {}
    for way in WAYS:
        steps = switches = 0
        kept = []
        for clip in made:
            answer = segmenter.segment_video(clip.frames, f"the {clip.noun}", way, threshold=0.0)
            found = np.array([_overlaps(answer.masks(number)[0], truth) for number, truth in enumerate(clip.masks)])
            followed = [int(row.argmax()) for row in found if row.max() >= 0.1]
            steps += max(0, len(followed) - 1)
            switches += int(np.count_nonzero(np.diff(followed)))
            kept.append(found[:, followed[0]].mean() if followed else 0.0)
        table[way] = _rounded({"switches": switches / max(1, steps), "J of the first followed": np.mean(kept)})
    return table


def _overlaps(mask: np.ndarray, truth: np.ndarray) -> list[float]:
    return [float((mask & each).sum() / max(1, (mask | each).sum())) for each in truth]


def presence(segmenter: Segmenter, made: list[ComposedClip]) -> dict[str, dict]:
    """Right frames by way of linking, and for offline linking the best threshold and what it would give."""
    table = {}
    for way in WAYS:
        said = [segmenter.segment_video(clip.frames, f"the {clip.noun}", way).presence[:, 0] for clip in made]
        table[way] = _right(made, said)
    always = [segmenter.segment_video(clip.frames, f"the {clip.noun}", threshold=0.0).scores[:, 0] for clip in made]
    sweep = {str(round(each, 2)): _right(made, [_followed(scores, each) for scores in always]) for each in THRESHOLDS}
    best = max(sweep, key=lambda each: sweep[each]["balanced"])
    return table | {"offline, best threshold": {"threshold": float(best), **sweep[best]}}


def _followed(scores: np.ndarray, threshold: float) -> list[bool]:
    """Presence along a path of these scores; the path itself does not depend on the threshold."""
    along = Presence(threshold, LinkWeights().change)
    for score in scores:
        along.add(float(score))
    return along.best_path()


def _right(made: list[ComposedClip], said: list) -> dict[str, float]:
    """Shares of frames with the whole thing, and with none of it, in which the answer is right."""
    counts = defaultdict(list)
    for clip, answers in zip(made, said, strict=True):
        most = max(masks[0].sum() for masks in clip.masks)
        for masks, there in zip(clip.masks, answers, strict=True):
            if masks[0].sum() > 0.2 * most:
                counts["there"].append(bool(there))
            elif not masks.any():
                counts["not there"].append(not there)
    right = {name: np.mean(values) for name, values in counts.items()}
    return _rounded({**right, "balanced": np.mean(list(right.values()))})


def _rounded(row: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "nano.yaml")
    parser.add_argument("--every", type=int, default=1, help="take every n-th frame of DAVIS")
    parser.add_argument("--end", type=float, help="seconds of each DAVIS sequence, at 25 frames a second")
    parser.add_argument("--clips", type=int, default=20, help="composed clips of each kind")
    parser.add_argument("--skip-davis", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "video_linking.json")
    given = parser.parse_args()
    segmenter = Segmenter.load(given.model)
    made = {
        name: list(clips(given.data, given.recipe, courses, given.clips))
        for name, courses in (("crossing", CROSSING), ("passing", PASSING))
    }
    results = {
        "model": given.model, "every": given.every, "clips": given.clips, "threads": torch.get_num_threads(),
        "machine": platform.machine(), "torch": torch.__version__,
        "crossing": crossing(segmenter, made["crossing"]), "presence": presence(segmenter, made["passing"]),
    }  # fmt: skip
    print(json.dumps(results, indent=1), flush=True)
    if not given.skip_davis:
        results["davis2016"] = davis(segmenter, given.data, given.every, given.end)
    given.output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {given.output}")


if __name__ == "__main__":
    main()
