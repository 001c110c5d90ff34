"""Weights of other projects into ours."""
