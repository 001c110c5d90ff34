"""Draw nano's masks on the example photos: docs/pictures/.

    python -m tools.example_pictures [--model nano]

Each picture is the overlay that `instructseg segment` writes; examples.jpg shows three side by side. IoUs with the
hand-drawn masks go to docs/results/nano_examples.json.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.harness import PICTURES, ROOT, ResultFile, make_parser, provenance
from instructseg import Prediction, Segmenter
from instructseg.metrics import intersection_and_union
from instructseg.visualization import contact_sheet

MODULE = "tools.example_pictures"
SHEET = ("camera: the man", "chelsea: the cat", "raccoon: the raccoon")


def iou(prediction: Prediction, mask: np.ndarray) -> float:
    if not prediction.found:
        return 0.0
    shared, joined = intersection_and_union(prediction.mask, mask)
    return shared / joined


def main() -> None:
    options = make_parser(__doc__, "nano_examples.json", model=True).parse_args()
    segmenter = Segmenter.load(options.model)
    PICTURES.mkdir(parents=True, exist_ok=True)
    drawn, scores = {}, []
    for entry in json.loads((ROOT / "examples" / "expected.json").read_text(encoding="utf-8")):
        prediction = segmenter.segment(ROOT / "examples" / entry["photo"], entry["instruction"])
        mask = np.array(Image.open(ROOT / "examples" / entry["mask"]).convert("L")) > 127
        name = f"{Path(entry['photo']).stem}: {entry['instruction']}"
        drawn[name] = prediction.overlay()
        Image.fromarray(drawn[name]).save(PICTURES / f"{name.replace(': the ', '.')}.jpg", quality=88)
        given = [round(float(score), 3) for score in prediction.scores]
        scores.append({"answer": name, "iou": round(iou(prediction, mask), 3), "scores": given})
    sheet = contact_sheet([drawn[name] for name in SHEET], columns=len(SHEET))
    Image.fromarray(sheet).save(PICTURES / "examples.jpg", quality=88)
    ResultFile(options.output, provenance(MODULE, options, seed=0, samples=len(scores))).add(examples=scores)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
