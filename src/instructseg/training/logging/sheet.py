"""Sample predictions at every validation: truth and answer side by side, as one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from instructseg.media.files import make_folder, write_bytes
from instructseg.types import Sample
from instructseg.visualization import contact_sheet, overlay

PAIRS = 8
COLUMNS = 4


class Sheet:
    """Collects answers of `PAIRS` samples, spread evenly over the validation set, of each another expression."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        places = np.unique(np.linspace(0, len(samples) - 1, PAIRS).astype(int))
        self.wanted = {
            (samples[at].id, number % len(samples[at].expressions)) for number, at in enumerate(places.tolist())
        }
        self.tiles: list[np.ndarray] = []
        self.captions: list[str] = []

    def show(self, sample: Sample, place: int, answer: np.ndarray | None) -> None:
        if (sample.id, place) not in self.wanted:
            return
        self.wanted.remove((sample.id, place))
        expression = sample.expressions[place]
        for name, mask in (("truth", expression.mask), ("answer", answer)):
            masks = np.zeros((0, *sample.image.shape[:2]), bool) if mask is None else mask[None]
            self.tiles.append(overlay(sample.image, masks, caption=expression.text))
            self.captions.append(name)

    def write(self, path: Path) -> None:
        make_folder(path.parent)
        buffer = io.BytesIO()
        Image.fromarray(contact_sheet(self.tiles, COLUMNS, self.captions)).save(buffer, "JPEG", quality=88)
        write_bytes(path, buffer.getvalue())
