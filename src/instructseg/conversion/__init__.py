"""Conversion of weights from other projects."""
