"""Readers, one for each file format; they know files, not tensors."""
