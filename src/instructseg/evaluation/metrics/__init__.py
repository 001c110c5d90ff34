"""Metrics in pure NumPy: each has `update`, `compute`, `reset`, and `merge` to combine processes."""

from instructseg.evaluation.metrics.choices import MmBenchScores, ScienceQaScores
from instructseg.evaluation.metrics.contours import (
    Silhouette,
    contour_accuracy,
    pairwise_scores,
    region_similarity,
)
from instructseg.evaluation.metrics.davis import (
    AnnotatorScores,
    FrameStatistics,
    Matching,
    ObjectScores,
    match_proposals,
)
from instructseg.evaluation.metrics.generalized import GeneralizedScores
from instructseg.evaluation.metrics.questions import GqaScores, PopeScores, VqaScores
from instructseg.evaluation.metrics.region import ExpressionScores, intersection_and_union, iou
from instructseg.evaluation.metrics.revos import (
    ReVosScores,
    pixel_accuracy,
    released_pixel_accuracy,
    released_robustness,
    robustness,
)
from instructseg.evaluation.metrics.video import ClipScores, clip_scores, frame_scores

__all__ = [
    "AnnotatorScores",
    "ClipScores",
    "ExpressionScores",
    "FrameStatistics",
    "GeneralizedScores",
    "GqaScores",
    "Matching",
    "MmBenchScores",
    "ObjectScores",
    "PopeScores",
    "ReVosScores",
    "ScienceQaScores",
    "Silhouette",
    "VqaScores",
    "clip_scores",
    "contour_accuracy",
    "frame_scores",
    "intersection_and_union",
    "iou",
    "match_proposals",
    "pairwise_scores",
    "pixel_accuracy",
    "region_similarity",
    "released_pixel_accuracy",
    "released_robustness",
    "robustness",
]
