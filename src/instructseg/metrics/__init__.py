"""Metrics in pure NumPy: each has `update`, `compute`, `reset`, and `merge` to combine processes."""

from instructseg.metrics.choices import MmBenchScores, ScienceQaScores
from instructseg.metrics.contours import (
    Silhouette,
    contour_accuracy,
    pairwise_scores,
    region_similarity,
)
from instructseg.metrics.davis import (
    AnnotatorScores,
    FrameStatistics,
    Matching,
    ObjectScores,
    match_proposals,
)
from instructseg.metrics.generalized import GeneralizedScores
from instructseg.metrics.questions import GqaScores, PopeScores, VqaScores
from instructseg.metrics.region import ExpressionScores, intersection_and_union, iou
from instructseg.metrics.revos import (
    ReVosScores,
    pixel_accuracy,
    released_pixel_accuracy,
    released_robustness,
    robustness,
)
from instructseg.metrics.video import ClipScores, clip_scores, frame_scores

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
