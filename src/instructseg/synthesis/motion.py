"""How an object moves through a composed clip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@dataclass(frozen=True)
class ObjectMotion:
    """One clear motion over a whole clip.

    `direction` is "left", "right", "up", "down", or "" for an object that stays in place. `step` is its displacement
    (x, y) over the clip as shares of the picture. With `stops`, it completes the displacement early and then stands
    still. `growth` is the ratio of its last to its first size. An object that `enters` starts outside the picture; one
    that `leaves` ends outside.
    """

    direction: str = ""
    step: tuple[float, float] = (0.0, 0.0)
    stops: bool = False
    growth: float = 1.0
    enters: bool = False
    leaves: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> ObjectMotion:
        """A random clear motion: a displacement of at least a fifth of the picture, a change of size, or none."""
        choice = rng.random()
        if choice < 0.2:
            return cls()
        if choice < 0.32:
            return cls(growth=float(rng.uniform(1.7, 2.3)) ** (1 if rng.random() < 0.5 else -1))
        variant = str(rng.choice(["through", "stops", "enters", "leaves"], p=[0.45, 0.15, 0.2, 0.2]))
        options = {} if variant == "through" else {variant: True}
        return cls.towards(list(_DIRECTIONS)[rng.integers(4)], rng, **options)

    @classmethod
    def towards(
        cls,
        direction: str,
        rng: np.random.Generator,
        *,
        stops: bool = False,
        enters: bool = False,
        leaves: bool = False,
    ) -> ObjectMotion:
        """A random displacement of at least a fifth of the picture in a direction, with a slight drift across it."""
        length, drift = rng.uniform(0.22, 0.5), rng.uniform(-0.03, 0.03)
        x, y = _DIRECTIONS[direction]
        step = (x * length + abs(y) * drift, y * length + abs(x) * drift)
        return cls(direction, step, stops=stops, enters=enters, leaves=leaves)

    @property
    def crosses_edge(self) -> bool:
        """True if the object enters or leaves the picture."""
        return self.enters or self.leaves
