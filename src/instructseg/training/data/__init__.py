"""Training samples: sources, their mixture, and batches."""
