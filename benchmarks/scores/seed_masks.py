"""How good the masks of nano's seeds are, whatever the instruction, by source of the photos and size of the objects.

    python -m benchmarks.scores.seed_masks --data DATA --recipe FILE [--model nano] [--photos N]

Every labelled object of the held-out photos that covers at least 0.5 % of one: the IoU of the mask that the head gives
to the object's true box (without its class), and whether one of the first 12, or of all seeds, has IoU above 0.5.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.harness import ResultFile, make_parser, provenance
from benchmarks.scores.nano_references import BINS, MIN_SHARE, open_held_out, size_bin, to_scene
from instructseg.inference.segmenter import Segmenter
from instructseg.media.masks import mask_to_box
from instructseg.metrics import iou
from instructseg.model.boxes import Boxes

MODULE = "benchmarks.scores.seed_masks"
FIRST = 12
FOUND = 0.5


@torch.inference_mode()
def seed_masks(segmenter: Segmenter, image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the given boxes (shares of the photo), and of all seeds, best first: bool (n, height, width) each."""
    model, images = segmenter.model, segmenter.processor.image_processor
    proposer = model.seed_proposer
    if proposer is None:
        raise SystemExit("expected a model with seeds, got one without")
    pixels = images.prepare(image)[None]
    maps = tuple(model.backbone(pixels).feature_maps)
    count = len(boxes)
    given = Boxes(
        torch.tensor(boxes[None], dtype=torch.float32), torch.ones(1, count), torch.full((1, count), -1),
        torch.ones(1, count, dtype=torch.bool), torch.zeros(1, count, dtype=torch.long),
    )  # fmt: skip
    _, logits = proposer.head(maps, given)
    seeds = proposer.propose(proposer.detect(pixels), maps, (pixels.shape[-2], pixels.shape[-1]))
    geometry = images.geometry(*image.shape[:2])
    proposed = seeds.mask_logits[0][seeds.boxes.valid[0]]
    return tuple(images.restore(masks, geometry).numpy() > 0 for masks in (logits[0], proposed))  # pyright: ignore[reportReturnType] two


def score_source(segmenter: Segmenter, rows: Sequence[tuple[Any, int]]) -> dict[str, Any]:
    """IoU given the true box and recall, by the object's share of the photo; `rows` are photos as (reader, index)."""
    found: dict[str, list[tuple[float, bool, bool]]] = defaultdict(list)
    for reader, index in rows:
        scene = to_scene(reader[index])
        objects = [each.mask for each in scene.objects if each.mask.mean() >= MIN_SHARE]
        if not objects:
            continue
        height, width = scene.image.shape[:2]
        boxes = np.array([mask_to_box(mask) for mask in objects]) / np.array([width, height, width, height])
        given, seeds = seed_masks(segmenter, scene.image, boxes)
        for target, mask in zip(objects, given, strict=True):
            overlaps = np.array([iou(seed, target) for seed in seeds])
            score = iou(mask, target), bool((overlaps[:FIRST] > FOUND).any()), bool((overlaps > FOUND).any())
            found[size_bin(target)].append(score)
    columns = ("iou of the true box", f"recall of {FIRST}", "recall of all")
    means = {name: np.mean(found[name], 0).tolist() for name in BINS if name in found}
    return {name: {**dict(zip(columns, means[name], strict=True)), "count": len(found[name])} for name in means}


def main() -> None:
    parser = make_parser(__doc__, "seed_masks.json", data=True, model=True, recipe=True)
    parser.add_argument("--photos", type=int, default=0, help="maximum number of photos per source (0: all)")
    options = parser.parse_args()
    segmenter = Segmenter.load(options.model, dtype="float32")
    counts, by_source = open_held_out(options.recipe, options.data, options.photos)
    result = ResultFile(options.output, provenance(MODULE, options, seed=0, photos=counts), digits=4)
    for name, rows in by_source.items():
        if name != "ccp":  # garments have no seeds of their own
            result.update({name: score_source(segmenter, rows)})
            print(name, json.dumps(result.content[name]), flush=True)


if __name__ == "__main__":
    main()
