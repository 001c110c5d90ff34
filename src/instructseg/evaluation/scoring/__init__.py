"""Scorers: they turn predictions into records, and the records of a benchmark into scores."""

from __future__ import annotations

from typing import Any

from instructseg.evaluation.scoring.clip_scorer import ClipScorer, ReVosScorer
from instructseg.evaluation.scoring.question_scorer import QUESTION_SCORERS
from instructseg.evaluation.scoring.ref_davis_scorer import RefDavisScorer
from instructseg.evaluation.scoring.region_scorer import RegionScorer
from instructseg.evaluation.scoring.scorer import Scorer

SCORERS: dict[str, Scorer[Any]] = {
    "region": RegionScorer(),
    "released_region": RegionScorer(released=True),
    "clip": ClipScorer(),
    "revos": ReVosScorer(),
    "ref_davis": RefDavisScorer(),
    **QUESTION_SCORERS,
}
"""The scorers by their name in `evaluation.benchmarks`."""
