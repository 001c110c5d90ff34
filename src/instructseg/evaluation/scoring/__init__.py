"""Scorers: one prediction and its ground truth become one record."""
