"""What every score asks of the masks it is given."""

from __future__ import annotations

import numpy as np

from instructseg.errors import InputError


def check_masks(dimensions: tuple[int, ...] = (2,), **masks: np.ndarray | None) -> None:
    """Refuse masks that are not bool arrays of one shape and of an allowed number of dimensions; None is passed over.

    Labels 0 / 255 would give wrong sums without any error (the released ReVOS evaluator does), so only bool is taken.
    Raises InputError, naming the mask by its keyword.
    """
    given = {name: mask for name, mask in masks.items() if mask is not None}
    for name, mask in given.items():
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            kind = getattr(mask, "dtype", type(mask).__name__)
            raise InputError(f"the {name} has type {kind}; a bool NumPy array was needed, e.g. {name} = pixels > 0")
        if mask.ndim not in dimensions or 0 in mask.shape[-2:]:
            forms = " or ".join({2: "(height, width)", 3: "(frames, height, width)"}[number] for number in dimensions)
            raise InputError(f"the {name} has shape {mask.shape}; {forms} was needed")
    if len({mask.shape for mask in given.values()}) > 1:
        shapes = " and ".join(f"{name} {mask.shape}" for name, mask in given.items())
        raise InputError(f"{shapes}; they must have one shape")
