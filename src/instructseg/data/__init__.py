"""Datasets: readers turn files into photos and samples; `compose` makes unlimited true samples from photos."""
