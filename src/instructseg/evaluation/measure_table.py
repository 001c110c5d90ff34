"""The measures by the names that the benchmark table gives them."""

from __future__ import annotations

from instructseg.evaluation.measure_clips import CLIP, REVOS
from instructseg.evaluation.measure_davis import REF_DAVIS
from instructseg.evaluation.measure_questions import QUESTIONS
from instructseg.evaluation.measure_regions import REGION, RELEASED_REGION
from instructseg.evaluation.measures import Measure

MEASURES: dict[str, Measure] = {
    "region": REGION,
    "released_region": RELEASED_REGION,
    "clip": CLIP,
    "revos": REVOS,
    "ref_davis": REF_DAVIS,
    **QUESTIONS,
}
