"""Recorded tensors of the released code compared with this package's modules."""
