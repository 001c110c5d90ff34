"""Datasets: the catalogue, the readers that turn files into photos and samples, checking and preparing."""
