"""Comparison of this package's modules with recorded tensors of the released code."""
