"""Scores of answers, pure numpy and OpenCV; each works alone by update / compute / reset and merges across processes."""

from instructseg.evaluation.metrics.region import ExpressionScores, intersection_and_union

__all__ = ["ExpressionScores", "intersection_and_union"]
