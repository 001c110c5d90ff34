"""Score a model on held-out photos by kind of expression, beside two baselines, and time its answers.

    python benchmarks/nano_validation.py --data /path/to/data [--model nano] [--recipe recipes/nano.yaml]

The photos are those the recipe keeps from training. Baselines: a box in the centre of the photo (half its height and
width), and a training-free heat map: ImageNet classes named in each grid cell, compared with the instruction's
words. Writes docs/results/nano_validation.json; --calibrate only prints the score threshold that answers best.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import torch

from instructseg.data.compose import validation_set
from instructseg.evaluation.metrics import ExpressionScores
from instructseg.inference.segmenter import ImageSession, Segmenter
from instructseg.training.data import compose_config, open_photos
from instructseg.training.recipe import load_recipe
from instructseg.types import Sample

STOP_WORDS = set("a an the in on of to at is are it find segment show where picture photo image please which".split())
OUTPUT = Path(__file__).parents[1] / "docs" / "results" / "nano_validation.json"
Answer = Callable[[ImageSession, str, Sample], np.ndarray | None]
Scores = dict[str, dict[str, ExpressionScores]]


def centre_box(session: ImageSession, text: str, sample: Sample) -> np.ndarray:
    height, width = session.image.shape[:2]
    mask = np.zeros((height, width), dtype=bool)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask


def concept_heat_map(session: ImageSession, text: str, sample: Sample) -> np.ndarray:
    """Cells whose named concepts are close to the instruction's content words; nothing here is trained by us."""
    segmenter = session.segmenter
    tokenizer, model = segmenter.processor.tokenizer, segmenter.model
    words = [word for word in text.lower().strip(".?!").split() if word not in STOP_WORDS] or text.split()
    ids = [token for word in words for token in tokenizer(f" {word}", add_special_tokens=False).input_ids]
    with torch.inference_mode():
        pixels = segmenter.processor.image_processor.prepare(session.image)[None]
        last = model.backbone(pixels).feature_maps[-1]
        concepts = model.backbone.name_cells(last)[1][0] @ model.vision_tokens.class_words
        query = model.get_input_embeddings()(torch.tensor(ids)).mean(0)
        heat = torch.nn.functional.cosine_similarity(concepts, query[None], dim=-1).view(last.shape[-2:]).numpy()
    height, width = session.image.shape[:2]
    heat = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    return heat > (heat.min() + heat.max()) / 2


def gather(segmenter: Segmenter, samples: Iterable[Sample]) -> tuple[list[dict], Scores]:
    """Every expression's best score and IoU without a threshold; and the scores of each way to answer, by dataset."""
    ways: dict[str, Answer] = {"centre box": centre_box, "concept heat map": concept_heat_map}
    scores = {name: defaultdict(ExpressionScores) for name in ("model", *ways)}
    threshold, records = segmenter.model.config.score_threshold, []
    for sample in samples:
        source = sample.id.split("/")[0]
        session = segmenter.open(sample.image)
        for expression in sample.expressions:
            kind, target = expression.kind, expression.mask
            sure = session.segment(expression.text, sample.task, threshold=0.0)
            top = float(sure.scores[0]) if sure.found else 0.0
            mask = sure.masks[0] if sure.found else None
            scores["model"][source].update(kind, mask if top >= threshold else None, target)
            iou = ExpressionScores().update(kind, mask, target)
            records.append({"score": top, "iou": iou, "target": target is not None})
            for name, answer in ways.items():
                scores[name][source].update(kind, answer(session, expression.text, sample), target)
    return records, scores


def tables(scores: dict[str, dict[str, ExpressionScores]]) -> dict[str, dict]:
    """Scores of each way to answer: over all photos, and by dataset."""
    result = {}
    for name, by_source in scores.items():
        everything = ExpressionScores()
        for part in by_source.values():
            everything.merge(part)
        result[name] = {"all photos": everything.compute()} | {key: part.compute() for key, part in by_source.items()}
    return result


def best_threshold(records: list[dict]) -> dict[str, float]:
    """The score below which to answer "no target": highest mean of IoU (targets) and of right refusals (absent)."""
    table = []
    for threshold in np.linspace(0, 0.95, 96):
        hits = [r["iou"] if r["score"] >= threshold else 0.0 for r in records if r["target"]]
        refusals = [r["score"] < threshold for r in records if not r["target"]]
        table.append(tuple(float(np.mean(values)) for values in (hits + refusals, [threshold], hits, refusals)))
    together, threshold, miou, refused = max(table)
    return {"threshold": threshold, "mean": together, "miou_of_targets": miou, "right_refusals": refused}


def timing(segmenter: Segmenter, sample: Sample, repeats: int = 9) -> dict[str, float]:
    """Median seconds from an opened photo to the first answer, and to the second on the same session."""
    first, second = [], []
    for _ in range(repeats):
        session = segmenter.open(sample.image)
        start = time.perf_counter()
        session.segment("the person on the left")
        middle = time.perf_counter()
        session.segment("the largest thing in the picture")
        first.append(middle - start)
        second.append(time.perf_counter() - middle)
    return {"first_instruction_s": float(np.median(first)), "second_instruction_s": float(np.median(second))}


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes" / "nano.yaml")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--photos", type=int, default=0, help="score only so many samples (0: all)")
    parser.add_argument("--calibrate", action="store_true", help="print the best score threshold, write nothing")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, [f"data.root={options.data}"])
    samples = validation_set(open_photos(recipe.data, validation=True), compose_config(recipe.data), seed=0)
    if options.photos:
        samples = samples[:: max(1, len(samples) // options.photos)]
    segmenter = Segmenter.load(options.model)
    records, scores = gather(segmenter, samples)
    if options.calibrate:
        print(json.dumps(best_threshold(records), indent=1))
        return
    result = {
        "command": "python benchmarks/nano_validation.py --data DATA",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "seed": 0,
        "photos": len({sample.id.rsplit("/", 1)[0] for sample in samples}),
        "expressions": len(records),
        "score_threshold": segmenter.model.config.score_threshold,
        "best_threshold": best_threshold(records),
        "scores": tables(scores),
        "seconds": timing(segmenter, samples[0]),
        "parameters": sum(parameter.numel() for parameter in segmenter.model.parameters()),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rounded(result), indent=1) + "\n")
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
