"""Checks of options that a user passes as Python values: integers, numbers and flags, also NumPy's."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np

from instructseg.errors import InputError


def check_integer(name: str, value: object, at_least: int, meaning: str = "") -> int:
    """The value as an int; also of a whole number like 2.0. `meaning` explains the minimum, e.g. "(all frames)".

    Raises InputError for any other type, and below `at_least`.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not _is_whole(value):
        raise InputError(f"expected {name} to be an integer, got {shown(value)}")
    number = int(value) if isinstance(value, Integral) else int(float(value))
    if number < at_least:
        raise InputError(f"expected {name} to be at least {at_least}{meaning and ' '}{meaning}, got {shown(number)}")
    return number


def check_number(name: str, value: object, unit: str = "") -> float:
    """The value as a finite float; `unit` follows "a number" in the message. Raises InputError for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real) or not _is_finite(value):
        raise InputError(f"expected {name} to be a finite number{unit and ' '}{unit}, got {shown(value)}")
    return float(value)


def check_flag(name: str, value: object) -> bool:
    """The value as a bool. Raises InputError unless it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"expected {name} to be True or False, got {shown(value)}")
    return bool(value)


def shown(value: object) -> str:
    """A value in an error message, shortened."""
    try:
        return f"{value!r:.60}"
    except Exception:  # an integer of over 4300 digits, or an object whose repr fails
        return f"a value of type {type(value).__name__}"


def _is_whole(value: Real) -> bool:
    return isinstance(value, Integral) or (_is_finite(value) and float(value).is_integer())


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer above the range of float
        return False
