"""All photos in memory at working size, and what is known about them as sets: vocabularies, rarity, cut-outs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from instructseg.errors import DataError
from instructseg.synthesis.cutouts import shared_mask
from instructseg.synthesis.nouns import NEVER_PASTED, domain_of, is_plural
from instructseg.synthesis.pixels import Piece, StoredPhoto, store
from instructseg.types import InstancePhoto

_LEAST_CUTOUT_SHARE = 0.008  # of the photo: smaller instances have too few real pixels to paste
_LEAST_CUTOUT_SIDE = 24
_WHOLE = 0.92  # least share of a cut-out in one connected part
_MOST_RIDDEN = 0.3  # share of a cut-out that other annotated things may cover (a table's mask holds its dishes)


class Library:
    """Stored photos by dataset; the dataset is the part of the photo id before the slash.

    Annotation is exhaustive for a dataset's own vocabulary only, so nothing is mixed across datasets. Raises
    DataError when no photo has a countable instance.
    """

    def __init__(self, photos: Sequence[InstancePhoto], max_side: int) -> None:
        stored = (store(photos[index], max_side) for index in range(len(photos)))
        self.photos = [photo for photo in stored if any(piece.countable for piece in photo.pieces)]
        if not self.photos:
            raise DataError("none of the photos has a countable instance; give at least one annotated photo")
        counts: dict[str, Counter[str]] = {}
        for photo in self.photos:
            counts.setdefault(photo.dataset, Counter()).update(piece.name for piece in photo.pieces)
        self.vocabularies = {dataset: frozenset(counter) for dataset, counter in counts.items()}
        self.domains = {dataset: domain_of(nouns) for dataset, nouns in self.vocabularies.items()}
        self._rarity = {
            (dataset, noun): count**-0.5 for dataset, counter in counts.items() for noun, count in counter.items()
        }
        self._cutouts = self._find_cutouts()

    def rarity(self, dataset: str, noun: str) -> float:
        """1 / sqrt(instances of the noun in the dataset): rare nouns are favoured a little."""
        return self._rarity[dataset, noun]

    def photo_chances(self, dataset_weights: Mapping[str, float]) -> np.ndarray:
        """Chances of being the base picture: a share for each dataset, in it more for many and for rare nouns."""
        weights = [sum(self.rarity(photo.dataset, noun) for noun in _nouns(photo)) for photo in self.photos]
        totals: Counter[str] = Counter()
        for photo, weight in zip(self.photos, weights, strict=True):
            totals[photo.dataset] += weight
        shares = [
            weight / totals[photo.dataset] * dataset_weights.get(photo.dataset, 1.0)
            for photo, weight in zip(self.photos, weights, strict=True)
        ]
        return np.asarray(shares) / sum(shares)

    def draw_cutout(self, dataset: str, noun: str | None, rng: np.random.Generator) -> tuple[StoredPhoto, Piece] | None:
        """An instance to cut out, of `noun` when it is given and there is one, else of a noun drawn by rarity."""
        by_noun = self._cutouts.get(dataset)
        if not by_noun:
            return None
        if noun not in by_noun:
            nouns = list(by_noun)
            chances = np.array([self.rarity(dataset, each) for each in nouns])
            noun = nouns[rng.choice(len(nouns), p=chances / chances.sum())]
        choices = by_noun[noun]
        return choices[rng.integers(len(choices))]

    def _find_cutouts(self) -> dict[str, dict[str, list[tuple[StoredPhoto, Piece]]]]:
        found: dict[str, dict[str, list[tuple[StoredPhoto, Piece]]]] = {}
        for photo in self.photos:
            for piece in photo.pieces:
                if _can_be_cut_out(photo, piece):
                    found.setdefault(photo.dataset, {}).setdefault(piece.name, []).append((photo, piece))
        return found


def _nouns(photo: StoredPhoto) -> set[str]:
    return {piece.name for piece in photo.pieces if piece.countable}


def _can_be_cut_out(photo: StoredPhoto, piece: Piece) -> bool:
    height, width = photo.image.shape[:2]
    x0, y0, x1, y1 = piece.box
    inside = x0 > 1 and y0 > 1 and x1 < width - 1 and y1 < height - 1
    large = piece.area >= _LEAST_CUTOUT_SHARE * height * width and min(x1 - x0, y1 - y0) >= _LEAST_CUTOUT_SIDE
    if not (inside and large and piece.countable) or piece.name in NEVER_PASTED:
        return False
    return _ridden(photo, piece) <= _MOST_RIDDEN * piece.area and (is_plural(piece.name) or _is_whole(piece))


def _is_whole(piece: Piece) -> bool:
    """One connected part holds nearly everything: things cut apart by what is before them are hard to recognise."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats((piece.mask > 127).astype(np.uint8))
    return statistics[1:, cv2.CC_STAT_AREA].max() >= _WHOLE * piece.area


def _ridden(photo: StoredPhoto, piece: Piece) -> float:
    """An upper bound on the pixels of the piece that lie under other pieces."""
    masks = (shared_mask(piece, other) for other in photo.pieces if other is not piece)
    return sum(float(np.count_nonzero(mask > 127)) for mask in masks if mask is not None)
