"""Read third-party pickles without executing code in them."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


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


_CODE = re.compile(r"[?bBhHiIlLqQefdgFDGuc][0-9]{0,3}|[SU][0-9]{1,6}|O8?")
"""Codes of numbers, texts and objects (for which callers have their own error)."""


class _Dtype:
    """The type of an array's values. NumPy's own type crashes on damaged states, so it never gets one."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"contains values of type {code!r:.40}; only numbers and text are allowed")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1]  # (version, byte order, ...): the rest describes types that are not allowed
        text: Any = order.decode() if isinstance(order, bytes) else order
        self.dtype = self.dtype.newbyteorder(text)


class _Array(np.ndarray):
    """An array whose state is checked before NumPy gets it, because NumPy does not check it."""

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, is_fortran, values = state
        dtype, count = kind.dtype, math.prod(shape)
        if isinstance(values, str):  # an array written by Python 2
            values = values.encode("latin1")
        expected = count if dtype.hasobject else count * dtype.itemsize
        is_right_type = isinstance(values, list if dtype.hasobject else bytes)
        if min(shape, default=0) < 0 or not is_right_type or len(values) != expected:
            raise pickle.UnpicklingError(f"contains an array of shape {shape} with the wrong number of values")
        checked: Any = version, shape, dtype, bool(is_fortran), values
        super().__setstate__(checked)


def _new_array(*_: Any) -> np.ndarray:
    """An empty array; its state follows."""
    return _Array(0, np.uint8)


def _array_of(buffer: bytes, kind: _Dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array of pickle protocol 5."""
    if not isinstance(buffer, bytes | bytearray):  # bytes(n) would allocate n bytes
        raise pickle.UnpicklingError(f"contains an array without bytes, but {type(buffer).__name__}")
    return np.array(np.frombuffer(bytes(buffer), kind.dtype).reshape(shape, order="F" if order == "F" else "C"))


def _scalar(kind: _Dtype, value: bytes) -> Any:
    (number,) = np.frombuffer(value, kind.dtype)
    return number


class ArraysOnly(PlainUnpickler):
    """Unpickles plain values and NumPy arrays; rejects everything else."""

    allowed = {
        ("numpy", "ndarray"): None,  # an argument of _reconstruct, not to be called
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "_reconstruct"): _new_array,
        ("numpy._core.multiarray", "_reconstruct"): _new_array,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,
        ("numpy.core.numeric", "_frombuffer"): _array_of,
        ("numpy._core.numeric", "_frombuffer"): _array_of,
        ("__builtin__", "bytes"): lambda: b"",  # how old protocols write it
        ("_codecs", "encode"): lambda text, codec: _latin1(text, codec),
    }


def read_pickle(path: Path, unpickler: type[PlainUnpickler] = PlainUnpickler, encoding: str = "ASCII") -> Any:
    """The content of a pickle file; `encoding` is that of byte strings written by Python 2.

    Raises OSError when the file cannot be opened, and pickle.UnpicklingError when its content is damaged or rejected.
    """
    with path.open("rb") as stream:
        try:
            _check_memo(content := stream.read())
            return unpickler(io.BytesIO(content), encoding=encoding).load()
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # on damaged bytes the unpickler raises almost any exception
            raise pickle.UnpicklingError(f"is damaged ({error!r})") from error


_ARGUMENT = {ord(opcode.code): 0 if opcode.arg is None else opcode.arg.n for opcode in pickletools.opcodes}
"""Opcode -> number of bytes of its argument; negative as pickletools defines it, for a length or lines."""
_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_PUT, _LONG_PUT = ord("p"), ord("r")
_TWO_LINES = frozenset(b"ci")


def _check_memo(content: bytes) -> None:
    """Raises UnpicklingError for an index of the memo that no writer uses.

    The unpickler allocates 16 bytes for every index up to it. Writers number the objects of the memo in order, so an
    index never exceeds the number of opcodes before it.
    """
    position, size, count = 0, len(content), 0
    while position < size:
        opcode = content[position]
        argument = _ARGUMENT.get(opcode)
        if argument is None:
            return  # damaged here: the unpickler raises the error
        position, count = position + 1, count + 1
        if opcode == _LONG_PUT and int.from_bytes(content[position : position + 4], "little") > count:
            raise pickle.UnpicklingError("has an index that is out of range")
        if argument >= 0:
            position += argument
        elif argument == pickletools.UP_TO_NEWLINE:
            start, position = position, content.find(b"\n", position) + 1 or size
            if opcode in _TWO_LINES:
                position = content.find(b"\n", position) + 1 or size
            elif opcode == _PUT and position - start > 7 and _decimal(content[start:position]) > count:
                raise pickle.UnpicklingError("has an index that is out of range")
        else:
            width = _LENGTH_BYTES[argument]
            position += width + int.from_bytes(content[position : position + width], "little")


def _decimal(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        return 0  # the unpickler raises the error
