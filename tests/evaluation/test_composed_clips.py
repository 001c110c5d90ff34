"""The benchmark of composed clips: made of a recipe's held-out photos, scored by kind."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instructseg.errors import DataError
from instructseg.evaluation.api import open_samples
from instructseg.evaluation.benchmarks import BENCHMARKS
from instructseg.evaluation.predictor import MaskPrediction
from instructseg.evaluation.scoring import SCORERS
from instructseg.synthesis.validation_clips import CLIP_KINDS, FRAMES

ROW = BENCHMARKS["composed_clips/val"]
PAINT = {"dog": (220, 20, 20), "zebra": (30, 170, 40), "kite": (30, 60, 220)}
RECIPE = """
data:
  coco: [{annotations: instances.json, images: .}]
  validation_percent: 60
  compose: {size: 160}
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Of photos with one painted rectangle each; the benchmark takes those that are held out."""
    root = tmp_path_factory.mktemp("painted")
    images, annotations = [], []
    for number in range(24):
        name, left = list(PAINT)[number % 3], 20 + 3 * number
        picture = np.full((120, 160, 3), 128, np.uint8)
        picture[40:75, left : left + 40] = PAINT[name]
        Image.fromarray(picture).save(root / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 120, "width": 160})
        polygon = [left, 40, left + 40, 40, left + 40, 75, left, 75]
        annotations.append({"id": number, "image_id": number, "category_id": number % 3, "segmentation": [polygon],
                            "iscrowd": 0})  # fmt: skip
    categories = [{"id": at, "name": name} for at, name in enumerate(PAINT)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    (root / "recipe.yaml").write_text(RECIPE)
    return open_samples(ROW, root, root / "recipe.yaml")


def test_it_is_the_fixed_set_on_held_out_photos(clips):
    assert len(clips) == 40 and clips.seed == 0 and clips.size == 160
    assert 3 <= len(clips.library.photos) < 24
    assert max(clips[0].frames[0].shape) == 160 and len(clips[0].frames) == FRAMES


def test_scores_are_told_by_kind(clips):
    """Answered rightly, except that things are followed out of the picture: only clips of that kind lose."""
    scorer, records = SCORERS[ROW.scorer], []
    for index in range(5):
        sample = clips[index]
        answers = [
            MaskPrediction(masks(each.masks, wrong=each.kind == "leaving"), [0.5]) for each in sample.expressions
        ]
        records += scorer.score_sample(sample, answers, None)
    scores = scorer.compute(records)
    assert set(ROW.metrics) <= set(scores)
    assert {kind for kind in CLIP_KINDS if scores[f"{kind}/J&F"] < 1} == {"leaving"}
    assert 0 < scores["leaving/J&F"] < scores["J&F"] < 1


def masks(truth, wrong):
    return [np.ones_like(mask) if wrong and not mask.any() else mask for mask in truth]


def test_the_recipe_is_found_outside_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="coco_subset"):
        open_samples(BENCHMARKS["templated/val"], tmp_path, Path("nano"))
