"""Draw nano's masks on two clips: docs/pictures/clip.jpg and clip_motion.jpg.

    python -m tools.clip_strip [--model nano]

The clips are composed of two example photos (CC0 and public domain, examples/README.md), cut out along their hand-drawn
masks, on the lawn of the man's photo. In the first, a raccoon comes into the picture, passes before the man and leaves;
in the second, two copies of the man walk past each other. The texts of a clip are segmented in one pass with offline
linking. Below some of the frames, one line per text shows every frame: coloured above where the object is in the
picture, below where the model predicts it. Mean J and the share of frames with correct presence go to
docs/results/video_clip_strip.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image

from benchmarks.harness import PICTURES, ROOT, ResultFile, make_parser, provenance
from instructseg import Segmenter
from instructseg.media.text import panel
from instructseg.metrics import region_similarity
from instructseg.visualization import color_of, contact_sheet, overlay

MODULE = "tools.clip_strip"
FRAMES, SHOWN = 30, (0, 6, 11, 15, 21, 29)
HEIGHT, WIDTH = 288, 432
TILE, NAMES = 194, 154  # pixels: width of a picture, and of the names left of the lines
ABSENT = (226, 226, 226)

Cutout = tuple[np.ndarray, np.ndarray]
"""Pixels uint8 (height, width, 3) and opacity 0..1 (height, width) of an object."""


@dataclass(frozen=True)
class Mover:
    """An object that moves from one place to another; `text` describes it, first and last are its left edge."""

    text: str
    cutout: Cutout
    first: int
    last: int


def read(name: str) -> np.ndarray:
    return np.array(Image.open(ROOT / "examples" / name).convert("RGB"))


def cut_out(photo: str, mask: str, height: int) -> Cutout:
    """An object within its box, `height` pixels high."""
    image, opaque = read(f"{photo}.jpg"), read(f"{photo}.{mask}.mask.png")[..., 0]
    rows, columns = (np.flatnonzero(opaque.any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    size = round(height * len(columns) / len(rows)), height
    fit = lambda pixels: cv2.resize(pixels[box], size, interpolation=cv2.INTER_AREA)  # noqa: E731
    return fit(image), cv2.GaussianBlur(fit(opaque), (3, 3), 0) / np.float32(255)


def raccoon(height: int) -> Cutout:
    """Its photo ends at its back, which is rounded off here."""
    image, opacity = cut_out("raccoon", "raccoon", height)
    high, wide = opacity.shape
    y, x = np.mgrid[:high, :wide]
    inside = ((x - 0.55 * wide) / (0.55 * wide)) ** 2 + ((y - 0.65 * high) / (0.65 * high)) ** 2 < 1
    return image, cv2.GaussianBlur(opacity * ((x > 0.55 * wide) | inside), (3, 3), 0)


def lawn() -> np.ndarray:
    """The right end of the man's photo, without man and tripod, mirrored again and again to the picture's width."""
    part = read("camera.jpg")[150:430, 420:]
    wide = np.concatenate([part, part[:, ::-1], part, part[:, ::-1]], axis=1)
    return cv2.resize(wide, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def put(picture: np.ndarray, cutout: Cutout, left: int) -> np.ndarray:
    """Lay a cut-out over the picture, standing on its lower edge; its visible pixels, bool (height, width)."""
    image, opacity = cutout
    high, wide = opacity.shape
    columns = slice(max(0, left), min(WIDTH, left + wide))
    mask = np.zeros(picture.shape[:2], bool)
    if columns.start < columns.stop:
        source = slice(columns.start - left, columns.stop - left)
        place, over = picture[HEIGHT - high :, columns], opacity[:, source, None]
        place[:] = np.rint(place * (1 - over) + image[:, source] * over)
        mask[HEIGHT - high :, columns] = opacity[:, source] >= 0.5
    return mask


def mirrored(cutout: Cutout) -> Cutout:
    return cutout[0][:, ::-1], cutout[1][:, ::-1]


def clips() -> dict[str, list[Mover]]:
    """Name of the picture -> its moving objects, the last one in front."""
    man = cut_out("camera", "man", 200)
    return {
        "clip": [
            Mover("the man", cut_out("camera", "man", 250), 110, 200),
            Mover("the raccoon", raccoon(150), -380, 570),
        ],
        "clip_motion": [
            Mover("the person moving left", mirrored(man), 280, 30),
            Mover("the person moving right", man, 30, 280),
        ],
    }


def compose(movers: Sequence[Mover]) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames, and the visible part of each object: bool (frames, objects, height, width)."""
    frames, truth = [], []
    for time in np.linspace(0, 1, FRAMES):
        picture = lawn()
        masks: list[np.ndarray] = []
        for mover in movers:
            mask = put(picture, mover.cutout, round(mover.first + (mover.last - mover.first) * time))
            masks = [*(other & ~mask for other in masks), mask]
        frames.append(picture)
        truth.append(np.stack(masks))
    return frames, np.array(truth)


def timeline(text: str, place: int, truth: np.ndarray, predicted: np.ndarray, width: int) -> np.ndarray:
    """A name and two lines: true presence above, predicted presence below, bool (frames,) each."""
    color, edges = color_of(place), np.linspace(NAMES, width - 6, FRAMES + 1).round().astype(int)
    bar = np.full((30, width, 3), 255, np.uint8)
    tag = panel(text, 12, NAMES, color)
    bar[4 : 4 + len(tag), 6 : 6 + tag.shape[1]] = tag[..., :3]
    for frame, (left, right) in enumerate(pairwise(edges)):
        bar[4:12, left : right - 1] = color if truth[frame] else ABSENT
        bar[15:23, left : right - 1] = color if predicted[frame] else ABSENT
    return bar


def small_overlay(image: np.ndarray, masks: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Drawn at the size it is shown in, so that the names can be read."""
    size = TILE, round(TILE * HEIGHT / WIDTH)
    few = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0 for mask in masks]
    return overlay(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.array(few), labels=texts)


def draw(name: str, movers: Sequence[Mover], segmenter: Segmenter) -> dict[str, dict[str, float]]:
    """Write the picture of one clip; returns the scores of each text."""
    texts = [mover.text for mover in movers]
    frames, truth = compose(movers)
    answer = segmenter.segment_video(frames, texts)
    there, predicted = np.any(truth, axis=(2, 3)), answer.present
    masks = np.array([answer.frames[number].masks for number in range(FRAMES)])
    drawn = [small_overlay(frames[number], masks[number], texts) for number in SHOWN]
    sheet = contact_sheet(drawn, columns=len(SHOWN), tile=TILE)
    lines = [timeline(text, at, there[:, at], predicted[:, at], sheet.shape[1]) for at, text in enumerate(texts)]
    Image.fromarray(np.concatenate([sheet, *lines])).save(PICTURES / f"{name}.jpg", quality=88)
    return {
        text: {
            "mean J": round(float(np.mean(region_similarity(masks[:, place], truth[:, place]))), 3),
            "presence right": round(float((there[:, place] == predicted[:, place]).mean()), 3),
        }
        for place, text in enumerate(texts)
    }


def main() -> None:
    options = make_parser(__doc__, "video_clip_strip.json", model=True).parse_args()
    segmenter = Segmenter.load(options.model, device="cpu")
    scores = {name: draw(name, movers, segmenter) for name, movers in clips().items()}
    facts = provenance(MODULE, options, seed=0, samples=len(scores))
    ResultFile(options.output, facts).add(frames=FRAMES, instructions=scores)
    print(json.dumps(scores, indent=1))


if __name__ == "__main__":
    main()
