"""Read third-party pickles without executing code in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray, numeric


class PlainUnpickler(pickle.Unpickler):
    """Unpickles dicts, lists, tuples, numbers, strings and bytes; rejects everything else."""

    allowed: Mapping[tuple[str, str], Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            allowed = "plain values and NumPy arrays" if self.allowed else "plain values"
            raise pickle.UnpicklingError(f"contains {module}.{name}; only {allowed} are allowed") from None


def _latin1(text: str, codec: str) -> bytes:
    """The bytes of an array, which old pickles store as latin1 text."""
    if codec != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError(f"contains bytes encoded as {codec!r}; only latin1 is supported")
    return text.encode("latin1")


_frombuffer = numeric._frombuffer  # pyright: ignore[reportAttributeAccessIssue]  # missing in the stub


class ArraysOnly(PlainUnpickler):
    """Unpickles plain values and NumPy arrays; rejects everything else."""

    allowed = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): multiarray._reconstruct,
        ("numpy.core.multiarray", "scalar"): multiarray.scalar,
        ("numpy._core.multiarray", "scalar"): multiarray.scalar,
        ("numpy.core.numeric", "_frombuffer"): _frombuffer,
        ("numpy._core.numeric", "_frombuffer"): _frombuffer,
        ("_codecs", "encode"): lambda text, codec: _latin1(text, codec),
    }


def read_pickle(path: Path, unpickler: type[PlainUnpickler] = PlainUnpickler, encoding: str = "ASCII") -> Any:
    """The content of a pickle file; `encoding` is that of byte strings written by Python 2.

    Raises OSError when the file cannot be opened, and pickle.UnpicklingError when its content is damaged or rejected.
    """
    with path.open("rb") as stream:
        try:
            return unpickler(stream, encoding=encoding).load()
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # on damaged bytes the unpickler raises almost any exception
            raise pickle.UnpicklingError(f"is damaged ({error!r})") from error
