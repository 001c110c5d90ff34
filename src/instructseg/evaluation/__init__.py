"""Evaluation: benchmarks, metrics and results."""
