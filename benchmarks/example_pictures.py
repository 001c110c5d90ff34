"""Draw nano's answers on the example photos: docs/pictures/.

    python benchmarks/example_pictures.py [--model nano]

Each picture is what `instructseg segment` writes; examples.jpg sets three side by side. IoUs with the masks drawn
by hand go to docs/results/nano_examples.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from instructseg import Prediction, Segmenter
from instructseg.evaluation.metrics import intersection_and_union
from instructseg.visualization import contact_sheet

ROOT = Path(__file__).parents[1]
SHEET = ("camera: the man", "chelsea: the cat", "raccoon: the raccoon")


def iou(prediction: Prediction, mask: np.ndarray) -> float:
    if not prediction.found:
        return 0.0
    shared, joined = intersection_and_union(prediction.masks[0], mask)
    return shared / joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    segmenter = Segmenter.load(parser.parse_args().model)
    pictures = ROOT / "docs" / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    drawn, scores = {}, []
    for entry in json.loads((ROOT / "examples" / "expected.json").read_text()):
        prediction = segmenter.segment(ROOT / "examples" / entry["photo"], entry["instruction"])
        mask = np.array(Image.open(ROOT / "examples" / entry["mask"]).convert("L")) > 127
        name = f"{Path(entry['photo']).stem}: {entry['instruction']}"
        drawn[name] = prediction.overlay()
        Image.fromarray(drawn[name]).save(pictures / f"{name.replace(': the ', '.')}.jpg", quality=88)
        answered = [round(float(score), 3) for score in prediction.scores]
        scores.append({"answer": name, "iou": round(iou(prediction, mask), 3), "scores": answered})
    sheet = contact_sheet([drawn[name] for name in SHEET], columns=len(SHEET))
    Image.fromarray(sheet).save(pictures / "examples.jpg", quality=88)
    result = {"command": "python benchmarks/example_pictures.py", "examples": scores}
    (ROOT / "docs" / "results" / "nano_examples.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
