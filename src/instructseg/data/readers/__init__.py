"""Readers: one per file format. They know files and numpy arrays, not tensors."""
