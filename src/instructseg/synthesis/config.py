"""The settings of the composer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from instructseg.errors import InputError


@dataclass(frozen=True)
class ComposeConfig:
    """How samples are composed. Raises InputError for a value out of range."""

    size: int = 384
    """Longest side of a composed picture in pixels, at least 16."""

    cache_side: int = 512
    """Longest side in pixels at which photos are kept in memory, at least 16. Larger than `size` keeps crops sharp."""

    expressions_per_photo: int = 8
    """Maximum number of expressions per sample, at least 1."""

    min_area: float = 0.005
    """Minimum area of a target as a share of the picture, 0..1. Smaller objects are never targets."""

    paste_probability: float = 0.5
    """Probability, 0..1, that objects cut out of other photos of the dataset are pasted onto a photo."""

    whole_probability: float = 0.35
    """Probability, 0..1, that the whole photo is shown rather than a crop."""

    reason_probability: float = 0.2
    """Probability, 0..1, of a reasoning instead of a referring sample; it is referring if no question applies."""

    reason_datasets: tuple[str, ...] = ()
    """Datasets whose photos may get a reasoning question; empty: all. Leave out those that annotate few nouns, where
    an unannotated object could be the answer."""

    sibling_probability: float = 0.0
    """Probability, 0..1, that an expression is followed by one of the same kind about another object of the same noun
    ("the left dog", "the right dog"), which only the choice between the two can tell apart."""

    dataset_weights: Mapping[str, float] = field(default_factory=dict)
    """Relative frequency of each dataset (`InstancePhoto.dataset`), at least 0; 1 for datasets that are not listed."""

    def __post_init__(self) -> None:
        for name, minimum in (("size", 16), ("cache_side", 16), ("expressions_per_photo", 1)):
            if getattr(self, name) < minimum:
                raise InputError(f"{name}: expected at least {minimum}, got {getattr(self, name)}")
        for name in ("min_area", "paste_probability", "whole_probability", "reason_probability", "sibling_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)}")
        negative = [dataset for dataset, weight in self.dataset_weights.items() if weight < 0]
        if negative:
            raise InputError(f"dataset_weights: expected weights of at least 0, got {dict(self.dataset_weights)}")
