"""Score a model on held-out photos by kind of expression, beside two baselines, and time its predictions.

    python -m benchmarks.scores.nano_validation --data DATA [--model nano] [--recipe FILE]

The photos are those that the recipe holds out. Baselines: a box in the centre of the photo (half its height and
width), and a training-free heat map: similarity of the ImageNet classes recognized in each grid cell to the words of
the instruction. With --calibrate the score threshold is the best one on these photos.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg.inference.segmenter import ImageSession, Segmenter
from instructseg.media.image import load_image
from instructseg.metrics import ExpressionScores, intersection_and_union
from instructseg.prompts import guess_task
from instructseg.synthesis.composer import validation_set
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.recipe import load_recipe
from instructseg.types import Expression, Sample, Task

MODULE = "benchmarks.scores.nano_validation"
STOP_WORDS = set("a an the in on of to at is are it find segment show where picture photo image please which".split())


def centre_box(session: ImageSession) -> np.ndarray:
    height, width = session.image.shape[:2]
    mask = np.zeros((height, width), dtype=bool)
    mask[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return mask


def concept_heat_map(session: ImageSession, text: str, cells: torch.Tensor) -> np.ndarray:
    """Cells whose named concepts (height, width, dim) are close to the content words; nothing here is trained by us."""
    tokenizer, model = session.processor.tokenizer, session.model
    words = [word for word in text.lower().strip(".?!").split() if word not in STOP_WORDS] or text.split()
    ids = [token for word in words for token in tokenizer(f" {word}", add_special_tokens=False).input_ids]
    with torch.inference_mode():
        query = model.get_input_embeddings()(torch.tensor(ids)).mean(0)
        heat = torch.nn.functional.cosine_similarity(cells, query, dim=-1).numpy()
    height, width = session.image.shape[:2]
    heat = cv2.resize(heat, (width, height), interpolation=cv2.INTER_LINEAR)
    return heat > (heat.min() + heat.max()) / 2


@torch.inference_mode()
def named_cells(session: ImageSession) -> torch.Tensor:
    """The classifier's classes of each grid cell as words: (height, width, dim)."""
    model = session.model
    last = model.backbone(session.processor.prepare_images([session.image]).pixel_values).feature_maps[-1]
    return (model.backbone.classify_cells(last)[1][0] @ model.vision_tokens.class_words).unflatten(0, last.shape[-2:])


def gather(segmenter: Segmenter, samples: Iterable[Sample]) -> list[dict]:
    """Every expression's answer without a threshold, and the baselines' answers, as pixel counts."""
    records = []
    for sample in samples:
        session = segmenter.open(sample.image)
        box, cells = centre_box(session), named_cells(session)
        for expression in sample.expressions:
            answer = session.segment(expression.text, sample.task, threshold=0.0)
            ways = {
                "model": answer.mask if answer.found else None,
                "centre box": box,
                "concept heat map": concept_heat_map(session, expression.text, cells),
            }
            records.append(
                {
                    "kind": expression.kind,
                    "source": sample.dataset,
                    "score": float(answer.scores[0]) if answer.found else 0.0,
                    "target": expression.mask,
                    "ways": ways,
                }
            )
            _count(records[-1])
    return records


def _count(record: dict) -> None:
    """Replace masks by (intersection, union) with the target, or by whether there is a mask when there is no target."""
    target = record.pop("target")
    record["absent"] = target is None
    for name, mask in record["ways"].items():
        if target is None:
            record["ways"][name] = mask is not None
        else:
            record["ways"][name] = intersection_and_union(np.zeros_like(target) if mask is None else mask, target)
    record["area"] = 0 if target is None else int(target.sum())


def tables(records: list[dict], threshold: float) -> dict[str, dict]:
    """Scores of each way to answer over all templated expressions, and by dataset; the threshold is the model's."""
    result = {}
    for name in records[0]["ways"]:
        groups: dict[str, ExpressionScores] = defaultdict(ExpressionScores)
        for record in records:
            refused = name == "model" and record["score"] < threshold
            for group in (record["source"], *(["templated"] if record["source"] != "davis2016" else [])):
                _add(groups[group], record, name, refused)
        result[name] = {group: scores.compute() for group, scores in groups.items()}
    return result


def _add(scores: ExpressionScores, record: dict, name: str, refused: bool) -> None:
    kind, way = record["kind"], record["ways"][name]
    if record["absent"]:
        scores.refusals[kind].append(refused or not way)
        return
    scores.intersections[kind].append(0 if refused else way[0])
    scores.unions[kind].append(record["area"] if refused else way[1])


def human_sentences(data: Path) -> list[Sample]:
    """First frames of DAVIS-2016 videos with sentences written by people, never seen in training; [] if not there."""
    folder = data / "davis2016"
    meta = folder / "meta_expressions_handwritten.json"
    videos = json.loads(meta.read_text(encoding="utf-8"))["videos"] if meta.exists() else {}
    samples = []
    for video, entry in videos.items():
        frame = load_image(folder / "JPEGImages" / "240p" / video / f"{entry['frames'][0]}.jpg")
        mask = load_image(folder / "Annotations" / "480p" / video / f"{entry['frames'][0]}.png")[..., 0]
        mask = cv2.resize(mask, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 127
        texts = [expression["exp"] for expression in entry["expressions"].values()]
        for task in (Task.RES, Task.REASON_SEG):
            chosen = tuple(Expression(text, mask, "human") for text in texts if guess_task(text) is task)
            if chosen:
                samples.append(Sample(f"davis2016/{video}", task, (frame,), chosen, dataset="davis2016"))
    return samples


def best_threshold(records: list[dict]) -> dict[str, float]:
    """The score below which to answer "no target": highest mean of IoU (targets) and of right refusals (absent)."""
    records = [dict(record) for record in records if record["source"] != "davis2016"]
    for record in records:
        way = record["ways"]["model"]
        record["iou"] = 0.0 if record["absent"] else way[0] / max(way[1], 1)
    table = []
    for threshold in np.linspace(0, 0.95, 96):
        hits = [r["iou"] if r["score"] >= threshold else 0.0 for r in records if not r["absent"]]
        refusals = [r["score"] < threshold for r in records if r["absent"]]
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


def main() -> None:
    parser = make_parser(__doc__, "nano_validation.json", data=True, model=True, recipe=True)
    parser.add_argument("--photos", type=int, default=0, help="maximum number of samples, spread evenly (0: all)")
    parser.add_argument("--calibrate", action="store_true", help="use the score threshold that is best on these photos")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, [f"data.root={options.data}"])
    samples = validation_set(open_photos(recipe.data, validation=True), compose_config(recipe.data), seed=0)
    if options.photos:
        samples = samples[:: max(1, len(samples) // options.photos)]
    samples += human_sentences(options.data)
    segmenter = Segmenter.load(options.model)
    photos = len({sample.id.rsplit("/", 1)[0] for sample in samples})
    expressions = sum(len(sample.expressions) for sample in samples)
    facts = provenance(MODULE, options, seed=0, samples=len(samples), photos=photos, expressions=expressions)
    result = ResultFile(options.output, facts, digits=4)
    records = gather(segmenter, samples)
    best = best_threshold(records)
    threshold = best["threshold"] if options.calibrate else segmenter.model.config.score_threshold
    result.add(score_threshold=threshold, best_threshold=best, scores=tables(records, threshold))
    result.add(
        seconds=timing(segmenter, samples[0]),
        parameters=sum(parameter.numel() for parameter in segmenter.model.parameters()),
    )
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
