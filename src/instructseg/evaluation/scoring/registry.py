"""The measures by the names that the benchmark table gives them."""

from __future__ import annotations

from instructseg.evaluation.scoring.clips import CLIP, REVOS
from instructseg.evaluation.scoring.davis import REF_DAVIS
from instructseg.evaluation.scoring.questions import QUESTIONS
from instructseg.evaluation.scoring.regions import REGION, RELEASED_REGION
from instructseg.evaluation.scoring.scorer import Measure

MEASURES: dict[str, Measure] = {
    "region": REGION,
    "released_region": RELEASED_REGION,
    "clip": CLIP,
    "revos": REVOS,
    "ref_davis": REF_DAVIS,
    **QUESTIONS,
}
