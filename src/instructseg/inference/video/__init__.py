"""Clips and live video: the engine, reference frames, linking over time, presence, and results."""
