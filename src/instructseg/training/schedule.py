"""Learning rate and random seed of a step; both depend only on its number."""

from __future__ import annotations

import math

from instructseg.training.recipe import Recipe


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then cosine decay to zero (supplement A)."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def step_seed(seed: int, step: int, process: int = 0) -> int:
    """Seed of a step, the same in a resumed run; equal in all processes unless `process` is given."""
    return seed * 1_000_003 + step + process * 1_000_000_007
