"""All photos in memory at working size, with the vocabulary, the rarity of nouns and the cut-outs of each dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from instructseg.errors import DataError
from instructseg.synthesis.cutouts import shared_mask
from instructseg.synthesis.nouns import is_plural, noun_table, vocabulary_of
from instructseg.synthesis.pixels import StoredInstance, StoredPhoto, store_photo
from instructseg.types import InstancePhoto

_MIN_CUTOUT_SHARE = 0.008  # area as a share of the photo: smaller instances have too few pixels to paste
_MIN_CUTOUT_SIDE = 24  # pixels of the shorter side of the box
_MIN_CONNECTED_SHARE = 0.92  # area in one connected component: objects split by occluders are hard to recognise
_MAX_OCCLUDED_SHARE = 0.3  # area that other annotated objects may cover (a table's mask contains its dishes)


class PhotoLibrary:
    """Stored photos by dataset; `max_side` is their longest side in pixels.

    A dataset is annotated exhaustively only for its own vocabulary, so pictures never mix datasets. Raises DataError if
    no photo has a countable instance.
    """

    def __init__(self, photos: Sequence[InstancePhoto], max_side: int) -> None:
        stored = (store_photo(photo, max_side) for photo in photos)
        self.photos = [photo for photo in stored if any(instance.countable for instance in photo.instances)]
        if not self.photos:
            raise DataError(
                "expected at least one annotated photo, got none with a countable instance; add annotations"
            )
        counts: dict[str, Counter[str]] = {}
        for photo in self.photos:
            counts.setdefault(photo.dataset, Counter()).update(instance.name for instance in photo.instances)
        self.vocabularies = {dataset: frozenset(counter) for dataset, counter in counts.items()}
        self.affordance_tables = {dataset: vocabulary_of(nouns) for dataset, nouns in self.vocabularies.items()}
        self._rarity = {
            (dataset, noun): count**-0.5 for dataset, counter in counts.items() for noun, count in counter.items()
        }
        self._cutouts = self._find_cutouts()

    def rarity(self, dataset: str, noun: str) -> float:
        """1 / sqrt(number of instances of the noun in the dataset): a mild preference for rare nouns."""
        return self._rarity[dataset, noun]

    def photo_probabilities(self, dataset_weights: Mapping[str, float]) -> np.ndarray:
        """The probability of each photo as the base of a picture, float (photos,).

        A dataset's share is proportional to its weight in `dataset_weights` (1 if not given). Within a dataset, photos
        with many or rare nouns are preferred.
        """
        weights = [sum(self.rarity(photo.dataset, noun) for noun in _countable_nouns(photo)) for photo in self.photos]
        totals: dict[str, float] = {}
        for photo, weight in zip(self.photos, weights, strict=True):
            totals[photo.dataset] = totals.get(photo.dataset, 0) + weight
        shares = [
            weight / totals[photo.dataset] * dataset_weights.get(photo.dataset, 1.0)
            for photo, weight in zip(self.photos, weights, strict=True)
        ]
        return np.asarray(shares) / sum(shares)

    def draw_cutout(
        self, dataset: str, noun: str | None, rng: np.random.Generator
    ) -> tuple[StoredPhoto, StoredInstance] | None:
        """A random instance to cut out, with its photo; None if the dataset has none.

        Its noun is `noun` if the dataset has such instances, otherwise a noun drawn by rarity.
        """
        by_noun = self._cutouts.get(dataset)
        if not by_noun:
            return None
        if noun not in by_noun:
            nouns = list(by_noun)
            weights = np.array([self.rarity(dataset, candidate) for candidate in nouns])
            noun = nouns[rng.choice(len(nouns), p=weights / weights.sum())]
        choices = by_noun[noun]
        return choices[rng.integers(len(choices))]

    def _find_cutouts(self) -> dict[str, dict[str, list[tuple[StoredPhoto, StoredInstance]]]]:
        """dataset -> noun -> the instances that can be cut out."""
        cutouts: dict[str, dict[str, list[tuple[StoredPhoto, StoredInstance]]]] = {}
        for photo in self.photos:
            for instance in photo.instances:
                if _can_be_cut_out(photo, instance):
                    by_noun = cutouts.setdefault(photo.dataset, {})
                    by_noun.setdefault(instance.name, []).append((photo, instance))
        return cutouts


def _countable_nouns(photo: StoredPhoto) -> list[str]:
    """The nouns of the countable instances, sorted so that sums over them are the same in every process."""
    return sorted({instance.name for instance in photo.instances if instance.countable})


def _can_be_cut_out(photo: StoredPhoto, instance: StoredInstance) -> bool:
    height, width = photo.image.shape[:2]
    x0, y0, x1, y1 = instance.box
    inside = x0 > 1 and y0 > 1 and x1 < width - 1 and y1 < height - 1
    large = instance.area >= _MIN_CUTOUT_SHARE * height * width and min(x1 - x0, y1 - y0) >= _MIN_CUTOUT_SIDE
    if not (inside and large and instance.countable) or instance.name in noun_table().never_pasted:
        return False
    if _occluded_area(photo, instance) > _MAX_OCCLUDED_SHARE * instance.area:
        return False
    return is_plural(instance.name) or _is_connected(instance)


def _is_connected(instance: StoredInstance) -> bool:
    """True if one connected component contains nearly all of the mask."""
    _, _, statistics, _ = cv2.connectedComponentsWithStats((instance.mask > 127).astype(np.uint8))
    return statistics[1:, cv2.CC_STAT_AREA].max() >= _MIN_CONNECTED_SHARE * instance.area


def _occluded_area(photo: StoredPhoto, instance: StoredInstance) -> float:
    """An upper bound on the number of the instance's pixels that other instances cover."""
    masks = (shared_mask(instance, other) for other in photo.instances if other is not instance)
    return sum(float(np.count_nonzero(mask > 127)) for mask in masks if mask is not None)
