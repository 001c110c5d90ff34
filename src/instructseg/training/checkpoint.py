"""Training checkpoints: written atomically; the previous one is kept until the new one is complete."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from instructseg.errors import CheckpointError
from instructseg.media.files import new_file
from instructseg.training.logging.reporter import console

LAST, PREVIOUS = "last.pt", "previous.pt"


def save(directory: Path, state: dict[str, Any]) -> None:
    """Write `state` and the random states; a failure (full disk, killed process) leaves the last checkpoint intact.

    Raises CheckpointError if it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with new_file(directory / LAST, single_writer=True) as unfinished:
            with unfinished.open("wb") as file:
                torch.save(state | {"random": random_states()}, file)
                file.flush()
                os.fsync(file.fileno())  # the content must reach the disk before the rename
            if (directory / LAST).exists():
                os.replace(directory / LAST, directory / PREVIOUS)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"cannot write a checkpoint to {directory}: {error}; free some space (the last checkpoint is kept)"
        ) from error


def load(directory: Path, is_valid: Callable[[dict[str, Any]], bool] = lambda state: True) -> dict[str, Any] | None:
    """The newest valid checkpoint, or None if there is none; restores the random states.

    Raises CheckpointError if there are checkpoints but none is valid: starting from scratch would overwrite them.
    """
    existing = [directory / name for name in (LAST, PREVIOUS) if (directory / name).exists()]
    for path in existing:
        state = _read(path)
        if state is not None and is_valid(state):
            return state
        console.print(f"{path} is damaged or not a checkpoint")
    if existing:
        names = " and ".join(path.name for path in existing)
        raise CheckpointError(f"{names} in {directory} cannot be read; move them away to start from scratch")
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """A checkpoint's entries, None if it cannot be read; restores the random states."""
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        restore_random(state.pop("random"))
    except Exception:  # a damaged or foreign file raises almost anything
        return None
    return state


def random_states() -> dict[str, Any]:
    """The states of the random generators of torch, NumPy and Python, as `torch.save` stores them."""
    state = np.random.get_state()
    assert isinstance(state, tuple)
    kind, keys, position, has_gauss, gauss = state
    return {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "python": random.getstate(),
    }


def restore_random(states: dict[str, Any]) -> None:
    """Restore the states that `random_states` returned."""
    torch.set_rng_state(states["torch"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
