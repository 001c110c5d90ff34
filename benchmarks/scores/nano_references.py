"""Does a model tell objects apart? References to held-out objects, by source of the photos, never pooled.

    python -m benchmarks.scores.nano_references --data DATA [--model nano] [--recipe FILE] [--photos N]

The photos are those that the recipe holds out; COCO's are split into val2017, which no detector of ours has seen, and
train2017. Texts are fixed, not drawn:

unique        "the X", where the photo shows one X: mIoU, and by the object's share of the photo
pairs         "the X on the left", "the X on the right", where it shows two: right, both, wrong or none
sizes         "the largest X", "the smallest X" of two: the same
plurals       "all the Xs", where it shows two to twelve: mIoU
conjunctions  "the X and the Y", each unique: mIoU
absent        "the X" for a noun that the source annotates and the photo certainly does not show: refused
lookalikes    the same for nouns that look like one that it shows, such as a truck beside a car
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.inference.prediction import Prediction
from instructseg.inference.segmenter import Segmenter
from instructseg.metrics import iou
from instructseg.synthesis.expressions import absent_nouns, countable_groups
from instructseg.synthesis.nouns import is_plural, lookalikes, plural
from instructseg.synthesis.pixels import crop_scene, store_photo
from instructseg.synthesis.scene import ObjectGroup, Scene, SceneObject
from instructseg.training.data.photos import InstanceReader, open_photos
from instructseg.training.recipe import load_recipe
from instructseg.types import Task

MODULE = "benchmarks.scores.nano_references"
MIN_SHARE = 0.005
"""Minimum area of a referred object as a share of the photo."""
BINS = {"0.5-2 %": (0.005, 0.02), "2-10 %": (0.02, 0.1), "over 10 %": (0.1, 1.01)}
MIN_GAP = 0.08
"""Minimum distance of the centres of a pair as a share of the photo's width."""
MIN_RATIO = 1.5
"""Minimum ratio of areas for "largest" and "smallest"."""
ABSENT_PER_PHOTO = 2


@dataclass(frozen=True)
class Reference:
    """One instruction: its kind, its text, its target masks (none: no target), and the other object of a pair."""

    kind: str
    text: str
    targets: tuple[np.ndarray, ...]
    other: np.ndarray | None = None


def references(scene: Scene, vocabulary: Sequence[str], rng: np.random.Generator) -> Iterator[Reference]:
    """All references that a photo supports."""
    groups = countable_groups(scene)
    alone = [group for group in groups if len(group.objects) == 1 and _is_large(scene, group.objects[0])]
    for group in alone:
        yield Reference("unique", f"the {group.words[0]}", (group.objects[0].mask,))
    for first, second in itertools.pairwise(alone):
        masks = first.objects[0].mask, second.objects[0].mask
        yield Reference("conjunctions", f"the {first.words[0]} and the {second.words[0]}", masks)
    for group in groups:
        yield from _of_several(scene, group)
    missing = absent_nouns(scene, vocabulary)
    alike = [noun for noun in missing if lookalikes(noun) & scene.possible_nouns]
    for kind, nouns in ("absent", [noun for noun in missing if noun not in alike]), ("lookalikes", alike):
        for index in rng.permutation(len(nouns))[:ABSENT_PER_PHOTO]:
            yield Reference(kind, f"the {nouns[index]}", ())


def _of_several(scene: Scene, group: ObjectGroup) -> Iterator[Reference]:
    objects = group.objects
    if not 2 <= len(objects) <= 12 or not all(_is_large(scene, obj) for obj in objects):
        return
    word = group.words[0]
    if not is_plural(word):
        yield Reference("plurals", f"all the {plural(word)}", tuple(obj.mask for obj in objects))
    if len(objects) != 2:
        return
    left, right = sorted(objects, key=lambda obj: obj.center[0])
    if right.center[0] - left.center[0] >= MIN_GAP * scene.image.shape[1]:
        yield Reference("pairs", f"the {word} on the left", (left.mask,), right.mask)
        yield Reference("pairs", f"the {word} on the right", (right.mask,), left.mask)
    small, large = sorted(objects, key=lambda obj: obj.area)
    if large.area >= MIN_RATIO * small.area:
        yield Reference("sizes", f"the largest {word}", (large.mask,), small.mask)
        yield Reference("sizes", f"the smallest {word}", (small.mask,), large.mask)


def _is_large(scene: Scene, obj: SceneObject) -> bool:
    return obj.countable and obj.area >= MIN_SHARE * scene.pixels


def outcome(mask: np.ndarray, target: np.ndarray, other: np.ndarray) -> str:
    """Which object of a pair a mask shows: one counts as shown if more than half of it is covered."""
    shown = [float((mask & each).sum()) / max(1, int(each.sum())) > 0.5 for each in (target, other)]
    return {(True, False): "right", (True, True): "both", (False, True): "wrong"}.get((shown[0], shown[1]), "none")


def size_bin(target: np.ndarray) -> str:
    """The name in `BINS` of an object's share of the photo, which is at least `MIN_SHARE`."""
    share = float(target.mean())
    return next(name for name, (low, high) in BINS.items() if low <= share < high)


class Scores:
    """Scores of one source."""

    def __init__(self) -> None:
        self.ious: dict[str, list[float]] = defaultdict(list)
        self.outcomes: dict[str, list[str]] = defaultdict(list)
        self.refused: dict[str, list[bool]] = defaultdict(list)

    def add(self, reference: Reference, prediction: Prediction) -> None:
        mask = prediction.mask
        if not reference.targets:
            self.refused[reference.kind].append(not prediction.found)
            return
        target = np.logical_or.reduce(reference.targets)
        overlap = iou(mask, target)
        self.ious[reference.kind].append(overlap)
        self.refused["present"].append(not prediction.found)
        if reference.kind == "unique":
            self.ious[f"unique {size_bin(target)}"].append(overlap)
        if reference.other is not None:
            self.outcomes[reference.kind].append(outcome(mask, reference.targets[0], reference.other))

    def compute(self) -> dict[str, Any]:
        miou = {kind: {"miou": float(np.mean(values)), "count": len(values)} for kind, values in self.ious.items()}
        counts = {
            kind: {name: outcomes.count(name) / len(outcomes) for name in ("right", "both", "wrong", "none")}
            | {"count": len(outcomes)}
            for kind, outcomes in self.outcomes.items()
        }
        refused = {
            kind: {"rate": float(np.mean(values)), "count": len(values)} for kind, values in self.refused.items()
        }
        return {"miou": dict(sorted(miou.items())), "outcomes": counts, "refused": refused}


def source_name(reader: InstanceReader) -> str:
    """The source of a reader's photos; COCO's are split by the year's split."""
    if isinstance(reader, CocoInstances) and reader.prefix == "coco":
        return f"coco {reader.image_dir.name}"
    return str(getattr(reader, "prefix", "own"))


def open_held_out(recipe: Path, data: Path, limit: int = 0) -> tuple[dict[str, int], dict[str, list[Any]]]:
    """The number of held-out photos of each source, and at most `limit` of them (0: all), evenly drawn."""
    by_source: dict[str, list[tuple[Any, int]]] = defaultdict(list)
    for reader, index in open_photos(load_recipe(recipe, [f"data.root={data}"]).data, validation=True).entries:
        by_source[source_name(reader)].append((reader, index))  # pyright: ignore[reportArgumentType] all are readers
    counts = {name: len(rows) for name, rows in by_source.items()}
    every = {name: max(1, -(-count // limit)) if limit else 1 for name, count in counts.items()}
    return counts, {name: rows[:: every[name]] for name, rows in by_source.items()}


def to_scene(photo: Any) -> Scene:
    """A whole photo, its longer side 512 pixels at most."""
    stored = store_photo(photo, 512)
    height, width = stored.image.shape[:2]
    return crop_scene(stored, (0, 0, width, height), (height, width), flip=False)


def main() -> None:
    parser = make_parser(__doc__, "nano_references.json", data=True, model=True, recipe=True)
    parser.add_argument("--photos", type=int, default=0, help="maximum number of photos per source (0: all)")
    parser.add_argument("--threshold", type=float, default=None, help="minimum score (default: the model's)")
    options = parser.parse_args()
    segmenter = Segmenter.load(options.model)
    counts, by_source = open_held_out(options.recipe, options.data, options.photos)
    result = ResultFile(options.output, provenance(MODULE, options, seed=0, photos=counts), digits=4)
    for name, rows in by_source.items():
        result.update({name: score_source(segmenter, rows, options.threshold)})
        print(name, json.dumps(result.content[name]), flush=True)


def score_source(segmenter: Segmenter, rows: Sequence[tuple[Any, int]], threshold: float | None) -> dict[str, Any]:
    """All scores of one source; `rows` are its photos as (reader, index)."""
    scores, rng = Scores(), np.random.default_rng(0)
    photos = [reader[index] for reader, index in rows]
    vocabulary = sorted({instance.name for photo in photos for instance in photo.instances})
    for photo in photos:
        scene = to_scene(photo)
        asked = list(references(scene, vocabulary, rng))
        if not asked:
            continue
        predictions = segmenter.open(scene.image).segment([item.text for item in asked], Task.RES, threshold=threshold)
        for item, prediction in zip(asked, predictions, strict=True):
            scores.add(item, prediction)
    return {"photos": len(rows), **scores.compute()}


if __name__ == "__main__":
    main()
