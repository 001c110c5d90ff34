"""A painted world to train on in seconds: photos of four coloured squares, a recipe for them, and a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tiny_model
import torch
from PIL import Image

from instructseg.model.modeling import InstructSegModel

REPOSITORY = Path(__file__).resolve().parents[2]
PAINT = {"dog": (220, 20, 20), "zebra": (30, 170, 40), "kite": (30, 60, 220), "clock": (230, 210, 30)}
TRAINED_ON, HELD_OUT = (0, 2), (1,)  # ids by the hash that splits them, see tests/training/test_run.py

RECIPE = """
seed: 3
steps: 12
batch_photos: 2
learning_rate: 3.0e-3
warmup_steps: 3
weight_decay: 0.01
clip_norm: 5.0
ema_decay: 0.9
checkpoint_minutes: 1000
validate_every: 10
lora: {rank: 2, dropout: 0.1}
loss: {num_points: 200, weights: {mask: 5, dice: 5, score: 2, class_positive: 4}}
data:
  coco: [{annotations: instances.json, images: .}]
  workers: 0
  compose: {size: 64, cache_side: 64, expressions_per_photo: 3, paste_probability: 0.0, whole_probability: 1.0}
"""


def paint(folder, photos=(*TRAINED_ON, *HELD_OUT), scale=1):
    """Photos of four painted squares each, 64 times `scale` pixels wide, with COCO annotations."""
    images, annotations = [], []
    for seed in photos:
        rng = np.random.default_rng(seed)
        photo = np.full((64, 64, 3), 128, np.uint8)
        for corner, name in enumerate(rng.permutation(list(PAINT)).tolist()):
            top, left = 32 * (corner // 2) + int(rng.integers(2, 8)), 32 * (corner % 2) + int(rng.integers(2, 8))
            side = int(rng.integers(16, 22))
            photo[top : top + side, left : left + side] = PAINT[name]
            right, bottom = left + side, top + side
            polygon = [scale * at for at in (left, top, right, top, right, bottom, left, bottom)]
            annotations.append({"id": len(annotations), "image_id": seed, "category_id": list(PAINT).index(name),
                                "segmentation": [polygon], "iscrowd": 0})  # fmt: skip
        Image.fromarray(photo.repeat(scale, 0).repeat(scale, 1)).save(folder / f"{seed}.png")
        images.append({"id": seed, "file_name": f"{seed}.png", "height": 64 * scale, "width": 64 * scale})
    categories = [{"id": at, "name": name} for at, name in enumerate(PAINT)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))


def found(folder):
    """A painted world on disk with its recipe and a saved tiny model to start from."""
    paint(folder)
    model, processor = tiny_model.build()
    model.save_pretrained(folder / "tiny")
    processor.save_pretrained(folder / "tiny")
    (folder / "recipe.yaml").write_text(f"{RECIPE}  root: {folder}\nmodel: {{init: {folder / 'tiny'}}}\nthreads: 1\n")
    return folder


def weights_of(output):
    return InstructSegModel.from_pretrained(output / "model").state_dict()


def apart(first, second):
    """The names of tensors that are not equal to the last bit."""
    assert first.keys() == second.keys()
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


def environment():
    paths = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY / "tests" / "support")])
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def python(*arguments, timeout=300):
    """What a Python process with this package in reach did."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=timeout)
