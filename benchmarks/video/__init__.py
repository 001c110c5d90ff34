"""Benchmarks of tracking objects through clips."""
