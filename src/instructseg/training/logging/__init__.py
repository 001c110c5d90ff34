"""Logs, plots, sample sheets and experiment trackers of a training run."""
