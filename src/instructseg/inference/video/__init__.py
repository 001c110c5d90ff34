"""Clips and live video: frames, reference frames, the engine, linking over time, presence, and results."""
