"""Joint training: recipe, data, loop, checkpoints."""
