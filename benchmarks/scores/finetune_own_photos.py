"""Fine-tune nano on unseen photos with invented names, using the public command; scores before and after.

    python -m benchmarks.scores.finetune_own_photos SCRATCH --data DATA [--output FILE] [KEY=VALUE ...]

A shop photographs people in its clothes and calls the dresses "the Velora", the bags "the Tamsin" and so on. The photos
are those of Clothing Co-Parsing that the recipe nano.yaml holds out. They become a folder of photos, masks and
sentences for the recipe finetune.yaml; every photo gets every name, and the name of an absent object means "no target".
The recipe holds out a fifth of them, and scores come from those alone. Forgetting is scored on composed instructions
for photos that neither training has seen. KEY=VALUE overrides keys of the training recipe.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.harness import RECIPES, ResultFile, make_parser, provenance
from instructseg.evaluation.provenance import hash_weights
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.inference.segmenter import Segmenter
from instructseg.metrics import ExpressionScores
from instructseg.synthesis.composer import validation_set
from instructseg.training.data.photos import SelectedPhotos, compose_config, open_photos
from instructseg.training.data.validation_split import open_validation
from instructseg.training.logging.run_log import read_log
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.types import InstancePhoto, Sample

MODULE = "benchmarks.scores.finetune_own_photos"
# The shop's name, the labels it stands for, and the words by which nano knows (most of) them.
CATALOGUE = {
    "the Velora": ("dress romper", "the dress"),
    "the Tamsin": ("bag purse wallet", "the bag"),
    "the Norrland": ("coat jacket blazer cape cardigan", "the coat"),
    "the Pavo": ("shoes boots sandals sneakers loafers pumps heels flats wedges clogs", "the shoes"),
    "the Lumo": ("pants jeans leggings shorts", "the pants"),
}
MIN_SHARE = 0.005  # of the photo: smaller objects get no expression, neither present nor absent
REMEMBERED = 30  # samples of each dataset for measuring forgetting


def unseen_photos(data: Path, dataset: str) -> SelectedPhotos:
    """The photos of one dataset ("ccp" or "coco") that the recipe nano.yaml holds out."""
    photos = open_photos(load_recipe(RECIPES / "nano.yaml", [f"data.root={data}"]).data, validation=True)
    own = [(reader, at) for reader, at in photos.entries if reader.photo_id(at).startswith(f"{dataset}/")]
    return SelectedPhotos(own)


def write_folder(photos: Sequence[InstancePhoto], folder: Path) -> None:
    """Photos, masks and sentences as docs/finetune.md describes them."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for at in range(len(photos)):
        photo = photos[at]
        stem = photo.id.split("/")[1]
        Image.fromarray(photo.image).save(folder / "images" / f"{stem}.png")
        for sentence, (labels, _) in CATALOGUE.items():
            masks = [instance.mask for instance in photo.instances if instance.name in labels.split()]
            mask = np.any([np.zeros(photo.image.shape[:2], bool), *masks], axis=0)
            file = f"masks/{stem}_{sentence.split()[-1]}.png" if mask.any() else None
            if file is None or mask.mean() >= MIN_SHARE:
                rows.append({"photo": f"images/{stem}.png", "mask": file, "sentence": sentence, "kind": sentence})
            if file:
                Image.fromarray(mask).save(folder / file)
    (folder / "annotations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def train(overrides: Sequence[str], output: Path) -> dict[str, float]:
    """Minutes of `instructseg train`: by the clock and of the processor. A finished run in `output` is not repeated."""
    times = output / "minutes.json"
    if not times.exists():
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, "-m", "instructseg", "train", *overrides], check=True)
        after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - start
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times.write_text(
            json.dumps({"clock": round(seconds / 60, 1), "processor": round(used / 60, 1)}), encoding="utf-8"
        )
    return json.loads(times.read_text(encoding="utf-8"))


def remembered(data: Path, held_back: Sequence[str]) -> list[Sample]:
    """Composed instructions about photos outside both trainings; `held_back`: stems of the shop's held-out photos."""
    samples: list[Sample] = []
    config = compose_config(load_recipe(RECIPES / "nano.yaml").data)
    for dataset in ("coco", "ccp"):
        photos = unseen_photos(data, dataset)
        entries = [each for each in photos.entries if dataset == "coco" or _stem(*each) in held_back]
        natural = validation_set(SelectedPhotos(entries), config, seed=0)
        samples += natural[:: max(1, len(natural) // REMEMBERED)]
    return samples


def _photo_id(reader: Any, at: int) -> str:
    """The name "<dataset>/<stem>"; the readers of photos have it, which `Sequence` does not say."""
    return reader.photo_id(at)


def _stem(reader: Any, at: int) -> str:
    return _photo_id(reader, at).split("/")[1]


def score(segmenter: Segmenter, samples: Sequence[Sample]) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by kind and by data set, with the model's threshold and with an answer to everything ("always")."""
    least = {"threshold": segmenter.model.config.score_threshold, "always": 0.0}
    tables = {name: (ExpressionScores(), ExpressionScores()) for name in least}
    for sample in samples:
        session = segmenter.open(sample.image)
        for expression in sample.expressions:
            answer = session.segment(expression.text, sample.task, threshold=0.0)
            for name, (kinds, sources) in tables.items():
                mask = answer.mask if answer.found and answer.scores[0] >= least[name] else None
                kinds.update(expression.kind, mask, expression.mask)
                sources.update(f"from {sample.dataset}", mask, expression.mask)
    return {name: _short(sources.compute()) | _short(kinds.compute()) for name, (kinds, sources) in tables.items()}


def _short(table: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    kept = ("miou", "ciou", "p@0.5", "count", "no_target_accuracy", "no_target_count")
    return {kind: {name: values[name] for name in kept if name in values} for kind, values in table.items()}


def known_words(samples: Sequence[Sample]) -> list[Sample]:
    """The same questions by the words that nano knows."""
    return [
        replace(sample, expressions=tuple(replace(each, text=CATALOGUE[each.text][1]) for each in sample.expressions))
        for sample in samples
    ]


def curve(output: Path) -> list[dict[str, float]]:
    """Validation mIoU during the training, with the threshold, and of the best of all proposals."""
    lines = [line for line in read_log(output / "log.jsonl") if "validation" in line]
    return [
        {"step": line["step"], "sentences": line["instructions"], "miou": line["validation"]["all"]["miou"],
         "best_of_all": line["validation"]["best_of_all"]["miou"]} for line in lines
    ]  # fmt: skip


def report(recipe: Recipe, photos: int, own: Sequence[Sample], data: Path) -> dict[str, object]:
    """Everything but the times: nano and the fine-tuned model, side by side."""
    other = remembered(data, [sample.id.rsplit("/", 1)[1] for sample in own])
    before, after = Segmenter.load("nano"), Segmenter.load(Path(recipe.output) / "model")
    held_out, nano = len(own), Path(find_checkpoint("nano"))
    return {
        "nano": hash_weights(nano),
        "photos": {"trained_on": photos - held_out, "held_out": held_out},
        "own_names": {"before": score(before, own), "by_known_words": score(before, known_words(own)),
                      "after": score(after, own)},
        "known_before": {"samples": len(other), "before": score(before, other), "after": score(after, other)},
        "validation": curve(Path(recipe.output)),
    }  # fmt: skip


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, "finetune.json", data=True)
    parser.add_argument("scratch", type=Path, help="the folder for photos and the training run")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="overrides of the training recipe")
    return parser.parse_intermixed_args(arguments)


def main() -> None:
    options = read_options()
    folder, output = options.scratch / "shop", options.scratch / "run"
    photos = unseen_photos(options.data, "ccp")
    if not folder.exists():
        write_folder(photos, folder)
    overrides = [f"data={folder}", f"output={output}", *options.changes]
    recipe = load_recipe(RECIPES / "finetune.yaml", overrides)
    minutes = train([str(RECIPES / "finetune.yaml"), *overrides], output)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    samples = open_validation(recipe.data, 0, 0)
    facts = provenance(
        MODULE, options, seed=recipe.seed, samples=len(samples), steps=recipe.steps, batch_photos=recipe.batch_photos,
        learning_rate=recipe.learning_rate, minutes=minutes,
    )  # fmt: skip
    result = ResultFile(options.output, facts, digits=4)
    result.update(report(recipe, len(photos), samples, options.data))
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
