"""Benchmarks of following objects through clips."""
