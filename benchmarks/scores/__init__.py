"""Benchmarks of accuracy, and checks against official scores."""
