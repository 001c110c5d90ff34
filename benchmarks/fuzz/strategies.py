"""Hypothesis strategies of what people's files hold, and of what damage and malice add to it."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

NUMBERS = st.one_of(
    st.integers(-3, 200),
    st.floats(-10, 200),
    st.sampled_from([2**31, 2**53, 2**63 - 1, 2**63, 2**70, 10**400, -(2**63), 7e8, 1e9, 1e300, -1e300, 5e-324]),
    st.floats(),
)
"""Numbers near a small photo, and those that overflow, wrap or are not finite."""

SCALARS = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=8))

TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
)
"""Whatever JSON can hold."""

ARGUMENTS = st.one_of(
    TREES, st.binary(max_size=40), st.sets(st.integers(), max_size=3), st.complex_numbers(), st.just(object()),
    st.sampled_from([np.zeros(2), np.zeros((3, 4, 3), np.uint8), np.array(5), np.array(["a"]), torch.ones(2), int]),
)  # fmt: skip
"""Python values of every sort."""


@st.composite
def changed_tree(draw: st.DrawFn, tree: Any) -> Any:
    """A copy of a JSON tree in which one to three values are replaced, or a key is removed."""
    for _ in range(draw(st.integers(1, 3))):
        tree = _change(draw, tree)
    return tree


def _change(draw: st.DrawFn, tree: Any) -> Any:
    if isinstance(tree, dict) and tree and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(tree)))
        if not draw(st.integers(0, 9)):
            return {name: value for name, value in tree.items() if name != key}
        return {**tree, key: _change(draw, tree[key])}
    if isinstance(tree, list) and tree and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(tree) - 1))
        return [_change(draw, value) if index == place else value for index, value in enumerate(tree)]
    return draw(TREES)


POLYGONS = changed_tree([[1, 1, 20.5, 1, 20, 15], [5, 5, 30, 5, 30, 20, 5, 20]]) | st.lists(
    st.one_of(st.lists(NUMBERS, max_size=12), st.lists(SCALARS, max_size=8), SCALARS), max_size=3
)
POINTS = changed_tree([[1, 1], [20, 1.5], [20, 15]]) | st.lists(
    st.one_of(st.lists(NUMBERS, min_size=2, max_size=2), TREES), max_size=8
)
RLES = st.one_of(
    changed_tree({"size": [24, 32], "counts": [10, 20, 738]}),
    changed_tree({"size": [24, 32], "counts": "e47a00000000000000000000000000k8"}),
    st.fixed_dictionaries(
        {
            "size": st.lists(st.one_of(st.integers(0, 30), NUMBERS), min_size=1, max_size=3),
            "counts": st.one_of(st.lists(NUMBERS, max_size=8), st.text(max_size=30), st.binary(max_size=30), TREES),
        }
    ),
    TREES,
)


@st.composite
def mutated(draw: st.DrawFn, files: dict[str, bytes]) -> tuple[str, bytes]:
    """The name and bytes of one of the files with 1 to 4 changes: bytes replaced, inserted, removed or cut off."""
    name = draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        new = draw(st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 4, b"\0" * 8, b"\xff\x7f"])))
        match draw(st.sampled_from(["replace", "insert", "remove", "cut"])):
            case "replace":
                content[place : place + len(new)] = new
            case "insert":
                content[place:place] = new
            case "remove":
                del content[place : place + len(new)]
            case "cut":
                del content[max(place, 1) :]
    return name, bytes(content)


def image_files() -> dict[str, bytes]:
    """A small photo in the common formats, and PNGs of other modes."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8))
    files = {}
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "TGA"):
        files[kind] = _saved(photo, kind)
    for mode in ("L", "LA", "RGBA", "P", "1", "I;16"):
        files[f"PNG {mode}"] = _saved(
            photo.convert("L").convert(mode) if mode == "I;16" else photo.convert(mode), "PNG"
        )
    return files


def _saved(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def weight_files() -> dict[str, bytes]:
    """Three tensors in every format that `convert` reads; names are file names."""
    tensors = {"a.weight": torch.ones(3, 4), "b": torch.arange(5), "c": torch.zeros(2).half()}
    files = {"w.safetensors": save(tensors)}
    for name, new in (("zip.bin", True), ("legacy.bin", False)):
        buffer = io.BytesIO()
        torch.save(tensors, buffer, _use_new_zipfile_serialization=new)
        files[name] = buffer.getvalue()
    arrays = {"model": {name: tensor.numpy() for name, tensor in tensors.items()}}
    return files | {f"{protocol}.pkl": pickle.dumps(arrays, protocol) for protocol in (0, 2, 4, 5)}
