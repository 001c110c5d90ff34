"""Validation of the masks passed to a metric."""

from __future__ import annotations

import numpy as np

from instructseg.errors import InputError


def check_masks(dimensions: tuple[int, ...] = (2,), **masks: np.ndarray | None) -> None:
    """Raise InputError unless all masks are bool arrays of one shape and an allowed number of dimensions.

    None is skipped; the error names the mask by its keyword. Labels 0 / 255 are rejected because they would silently
    give wrong sums, as in the released ReVOS evaluator.
    """
    given = {name: mask for name, mask in masks.items() if mask is not None}
    for name, mask in given.items():
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            kind = getattr(mask, "dtype", type(mask).__name__)
            raise InputError(
                f"expected the {name} as a bool NumPy array, got {kind}; convert it, e.g. {name} = pixels > 0"
            )
        if mask.ndim not in dimensions or 0 in mask.shape[-2:]:
            forms = " or ".join({2: "(height, width)", 3: "(frames, height, width)"}[number] for number in dimensions)
            raise InputError(f"expected the {name} with shape {forms}, got {mask.shape}")
    if len({mask.shape for mask in given.values()}) > 1:
        shapes = " and ".join(f"{name} {mask.shape}" for name, mask in given.items())
        raise InputError(f"expected masks of one shape, got {shapes}")
