"""A contact sheet of sample predictions at every validation: ground truth and prediction side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from instructseg.media.files import make_folder, write_bytes
from instructseg.media.pixels import encode_image
from instructseg.types import Sample
from instructseg.visualization import contact_sheet, overlay

PAIRS = 8
COLUMNS = 4


class PredictionSheet:
    """Collects predictions for `PAIRS` samples, evenly spaced in the validation set, cycling through expressions."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        positions = np.unique(np.linspace(0, len(samples) - 1, PAIRS).astype(int))
        self.pending = {
            (samples[position].id, number % len(samples[position].expressions))
            for number, position in enumerate(positions.tolist())
        }
        self.tiles: list[np.ndarray] = []
        self.captions: list[str] = []

    def show(self, sample: Sample, index: int, prediction: np.ndarray | None) -> None:
        """Add the prediction for expression `index` of a sample, if it is selected."""
        if (sample.id, index) not in self.pending:
            return
        self.pending.remove((sample.id, index))
        expression = sample.expressions[index]
        for name, mask in (("truth", expression.mask), ("prediction", prediction)):
            masks = np.zeros((0, *sample.image.shape[:2]), bool) if mask is None else mask[None]
            self.tiles.append(overlay(sample.image, masks, caption=expression.text))
            self.captions.append(name)

    def write(self, path: Path) -> None:
        """Write the sheet as a JPEG file. Raises InputError when that is not possible."""
        make_folder(path.parent)
        sheet = contact_sheet(self.tiles, COLUMNS, self.captions)
        write_bytes(path, encode_image(sheet, "JPEG", quality=88))
