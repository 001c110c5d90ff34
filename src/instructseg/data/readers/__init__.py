"""Readers: one per file format. They return numpy arrays and do not depend on torch."""
