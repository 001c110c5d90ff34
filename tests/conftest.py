"""What several tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:  # `make test` runs one process per core; torch reads this when it is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of real datasets beside the checkout, if the developer has one; tests that need it are skipped else.

    The folder is the one named by the environment variable INSTRUCTSEG_DATA, or `shared` next to the repository.
    """
    named = os.environ.get("INSTRUCTSEG_DATA")
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no datasets: {folder} is not a folder (set INSTRUCTSEG_DATA to the one that holds them)")
    return folder


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the example photos, their masks and expected.json."""
    return REPOSITORY / "examples"


@pytest.fixture
def tiny_photo() -> Callable[..., np.ndarray]:
    """Make a small RGB photo, uint8 (height, width, 3): patches of random colours, the same for the same seed."""

    def make(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
        patches = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
        return patches.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].copy()

    return make
