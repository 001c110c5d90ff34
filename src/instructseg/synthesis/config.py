"""The settings of composing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def _default_weights() -> Mapping[str, float]:
    return {"unique": 2.0, "position": 2.0, "relation": 1.5, "size": 1.2, "color": 1.5, "plural": 1.0, "absent": 1.0}


@dataclass(frozen=True)
class ComposeConfig:
    """How samples are composed.

    size: longest side of the picture in pixels.
    cache_side: longest side at which photos are kept in memory; above `size`, so that crops stay sharp.
    expressions_per_photo: at most this many instructions a sample.
    min_area: least share of the picture a target covers.
    paste_probability, most_pasted: how often cut-outs are pasted, and how many at most.
    alike_probability: chance that a cut-out has the noun of something already there, so that words must discriminate.
    whole_probability: chance that the base photo is not cropped.
    flip_probability: chance of a mirrored base photo; words are chosen afterwards.
    reason_probability: chance of a ReasonSeg sample (questions about use) instead of a RES one, where possible.
    dataset_weights: relative frequency of datasets (the part of photo ids before the slash); 1 where not given.
    kind_weights: relative frequency of the kinds of RES expressions, among those that the picture supports.
    most_absent: share of a sample's expressions that may have no target.
    """

    size: int = 384
    cache_side: int = 512
    expressions_per_photo: int = 8
    min_area: float = 0.005
    paste_probability: float = 0.5
    most_pasted: int = 4
    alike_probability: float = 0.5
    whole_probability: float = 0.35
    flip_probability: float = 0.5
    reason_probability: float = 0.2
    dataset_weights: Mapping[str, float] = field(default_factory=dict)
    kind_weights: Mapping[str, float] = field(default_factory=_default_weights)
    most_absent: float = 0.25
