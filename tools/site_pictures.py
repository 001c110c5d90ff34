"""Draw the pictures of the documentation site with nano: docs/pictures/site_*.webp.

    python -m tools.site_pictures [--model nano]

site_hero.webp is on the home page, site_outputs.webp shows what a result can become, site_texts.webp and
site_limits.webp show answers to texts of the kinds that docs/instructions.md describes. Photos are segmented whole and
cut to 4:3 afterwards. Scores and areas go to docs/results/site_pictures.json.
"""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from benchmarks.harness import PICTURES, ROOT, ResultFile, make_parser, provenance
from instructseg import Prediction, Segmenter
from instructseg.visualization import color_of, overlay

MODULE = "tools.site_pictures"
HERO = (("camera", "the man"), ("raccoon", "the raccoon"), ("coffee", "the cup"))
TEXTS = (
    ("camera", "the person"), ("camera", "the coat"), ("astronaut", "the hair"),
    ("chelsea", "the cat"), ("coffee", "the cup"), ("coffee", "the table"),
)  # fmt: skip
LIMITS = (
    ("coffee", "the cup and the spoon"), ("raccoon", "the raccoon's face"), ("chelsea", "the dog"),
    ("coffee", "the spoon"), ("astronaut", "what protects the head in space?"), ("chelsea", "die Katze"),
)  # fmt: skip
OUTPUTS = ("coffee", "the cup")
TOPS = {"astronaut": 0.0, "camera": 0.05}  # where the 4:3 part of a square photo begins, as a share of its height
SQUARE = 12  # pixels: squares behind transparent pixels


def part(prediction: Prediction, photo: str) -> tuple[slice, slice]:
    """Rows and columns of the 4:3 part of the photo that is shown."""
    height, width = prediction.size
    rows, columns = min(height, round(width * 3 / 4)), min(width, round(height * 4 / 3))
    top = min(round(TOPS.get(photo, 0.5) * height), height - rows)
    left = (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def shrink(pixels: np.ndarray, width: int) -> np.ndarray:
    size = width, round(width * 3 / 4)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def draw(prediction: Prediction, photo: str, width: int) -> np.ndarray:
    """The overlay of the shown part, drawn at the size it is shown in, so that its words can be read."""
    rows, columns = part(prediction, photo)
    masks = [shrink(mask[rows, columns].astype(np.uint8) * 255, width) > 127 for mask in prediction.masks]
    small = shrink(prediction.image[rows, columns], width)
    given = np.array(masks, dtype=bool).reshape(-1, *small.shape[:2])
    return overlay(small, given, scores=prediction.scores, caption=prediction.instruction)


def on_squares(rgba: np.ndarray) -> np.ndarray:
    """A picture with transparent pixels on the usual grey squares, RGB."""
    y, x = np.mgrid[: rgba.shape[0], : rgba.shape[1]] // SQUARE
    behind = np.where((x + y) % 2, 232, 250).astype(np.uint8)[..., None]
    return np.where(rgba[..., 3:] > 0, rgba[..., :3], behind).astype(np.uint8)


def draw_outputs(prediction: Prediction, photo: str, width: int) -> list[np.ndarray]:
    """Photo, overlay, mask and cut-out."""
    rows, columns = part(prediction, photo)
    mask = np.where(prediction.mask[..., None], np.array(color_of(0), np.uint8), np.uint8(245))
    shown = [prediction.image, mask, on_squares(prediction.cutout())]
    plain, masked, cut = [shrink(np.ascontiguousarray(each[rows, columns]), width) for each in shown]
    return [plain, draw(prediction, photo, width), masked, cut]


def save(name: str, tiles: list[np.ndarray], columns: int) -> None:
    """Write a sheet of equal tiles; the gaps are transparent, as the page is light or dark."""
    height, width = tiles[0].shape[:2]
    gap, rows = max(2, width // 32), len(tiles) // columns
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = np.dstack([tile, np.full((height, width), 255, np.uint8)])
    Image.fromarray(sheet).save(PICTURES / f"site_{name}.webp", quality=84, method=6)


def main() -> None:
    options = make_parser(__doc__, "site_pictures.json", model=True).parse_args()
    segmenter = Segmenter.load(options.model, device="cpu")
    sessions = {path.stem: segmenter.open(path) for path in sorted((ROOT / "examples").glob("*.jpg"))}
    asked = dict.fromkeys((*HERO, *TEXTS, *LIMITS, OUTPUTS))
    found = {pair: sessions[pair[0]].segment(pair[1]) for pair in asked}
    save("hero", [draw(found[pair], pair[0], 420) for pair in HERO], columns=3)
    save("texts", [draw(found[pair], pair[0], 320) for pair in TEXTS], columns=3)
    save("limits", [draw(found[pair], pair[0], 320) for pair in LIMITS], columns=3)
    save("outputs", draw_outputs(found[OUTPUTS], OUTPUTS[0], 300), columns=4)
    answers = [
        {"photo": photo, "instruction": text, "scores": [round(float(score), 3) for score in given.scores],
         "share_of_photo": round(float(given.mask.mean()), 4)}
        for (photo, text), given in found.items()
    ]  # fmt: skip
    ResultFile(options.output, provenance(MODULE, options, seed=0, samples=len(answers))).add(answers=answers)
    print(json.dumps(answers, indent=1))


if __name__ == "__main__":
    main()
