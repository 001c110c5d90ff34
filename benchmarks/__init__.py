"""Benchmarks of this repository; README.md lists them."""
