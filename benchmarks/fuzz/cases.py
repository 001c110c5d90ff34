"""One case per parser: a strategy of inputs, and a call that returns a right result or raises an error of ours."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import yaml
from hypothesis import strategies as st
from pydantic import TypeAdapter

from benchmarks.fuzz import data_files
from benchmarks.fuzz import strategies as given
from instructseg.conversion.reading import WeightFiles
from instructseg.data.readers.coco_instances import decode_segmentation
from instructseg.data.readers.labelme_file import Kind, Shape
from instructseg.data.readers.labelme_shapes import draw_shape
from instructseg.data.readers.reason_seg import draw_shapes
from instructseg.data.readers.refcoco import released_mask
from instructseg.errors import DataError, InstructSegError
from instructseg.inference import arguments
from instructseg.media import masks
from instructseg.media.image import load_image
from instructseg.media.text import panel
from instructseg.model.checks import check_limits
from instructseg.model.image_processing import InstructSegImageProcessor
from instructseg.training.recipe import Recipe, load_recipe

SIZE = (24, 32)
OPTIONS = ("side", "resize", "mean", "std", "clip_side", "clip_mean", "clip_std")


@dataclass(frozen=True)
class Case:
    """`call` gets an input of `inputs`; it may raise `errors` and nothing else."""

    inputs: st.SearchStrategy[Any]
    call: Callable[[Any], Any]
    errors: tuple[type[Exception], ...] = (InstructSegError,)


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="instructseg_fuzz_"))


def _image(file: tuple[str, bytes]) -> None:
    image = load_image(file[1])
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size


def _rle(rle: Any) -> None:
    mask = masks.rle_to_mask(rle)
    assert mask.dtype == bool and mask.ndim == 2


def _draw(draw: Callable[[Any, tuple[int, int]], np.ndarray]) -> Callable[[Any], None]:
    def call(polygons: Any) -> None:
        assert draw(polygons, SIZE).shape == SIZE

    return call


def _labelme(shape: Any, size: tuple[int, int]) -> np.ndarray:
    return draw_shape(TypeAdapter(Shape).validate_python(shape), size)


def _weights(file: tuple[str, bytes]) -> None:
    path = _folder() / f"w{Path(file[0]).suffix}"
    path.write_bytes(file[1])
    weights = WeightFiles(path)
    weights.shapes()
    assert all(isinstance(tensor, torch.Tensor) for _, tensor in weights.tensors())


def _recipe(content: bytes) -> None:
    path = _folder() / "recipe.yaml"
    path.write_bytes(content)
    assert isinstance(load_recipe(path), Recipe)


def _override(override: tuple[str, str]) -> None:
    assert isinstance(load_recipe("nano", ["=".join(override)]), Recipe)


def _python(call: tuple[Callable[..., Any], list[Any]]) -> None:
    function, values = call
    function(*values)


def _texts(text: str) -> None:
    arguments.choose_task(None, text)
    assert panel(text, 14, 200, (18, 18, 22), max_lines=3).dtype == np.uint8


def _trees_as_yaml() -> st.SearchStrategy[bytes]:
    tree = Recipe().as_tree()
    changed = given.changed_tree(tree).map(lambda changed: yaml.safe_dump(changed, allow_unicode=True).encode())
    return changed | given.mutated({"recipe": yaml.safe_dump(tree).encode()}).map(lambda file: file[1])


def _shapes() -> st.SearchStrategy[Any]:
    kind = st.sampled_from([*get_args(Kind), "x"])
    shape = {"label": given.SCALARS, "points": given.POINTS, "shape_type": kind, "mask": st.text(max_size=20)}
    return st.fixed_dictionaries(shape)


FUNCTIONS: dict[Callable[..., Any], int] = {
    load_image: 2, masks.mask_to_rle: 1, masks.mask_to_box: 1, masks.masks_to_boxes: 1, masks.mask_to_polygons: 2,
    masks.masks_to_labels: 1, masks.probabilities_to_labels: 1, masks.mask_png: 1, masks.palette_png: 1,
    masks.rle_to_mask: 1, arguments.choose_device: 1, arguments.check_attention: 1, arguments.list_texts: 1,
    check_limits: 2,
}  # fmt: skip

CASES = {
    "image": Case(given.mutated(given.image_files()), _image),
    "RLE": Case(given.RLES, _rle),
    "COCO polygon": Case(given.POLYGONS | given.RLES, _draw(decode_segmentation), (ValueError,)),
    "released polygon": Case(given.POLYGONS, _draw(released_mask), (ValueError,)),
    "LabelMe shape": Case(_shapes(), _draw(_labelme), (ValueError,)),
    "ReasonSeg shape": Case(
        given.POINTS.map(lambda points: [{"label": "target", "points": points}]), _draw(draw_shapes), (ValueError,)
    ),
    "weight file": Case(given.mutated(given.weight_files()), _weights),
    "recipe": Case(_trees_as_yaml(), _recipe),
    "override": Case(
        st.tuples(
            st.sampled_from(["steps", "data", "model.config", "lora.rank", "data.coco", "report"])
            | st.text(max_size=12),
            st.text(max_size=30) | given.TREES.map(lambda tree: json.dumps(tree)),
        ),
        _override,
    ),
    "processor config": Case(
        st.dictionaries(st.sampled_from(OPTIONS), given.TREES, max_size=3),
        lambda options: InstructSegImageProcessor(**options),
    ),
    "Python arguments": Case(
        st.sampled_from(list(FUNCTIONS)).flatmap(
            lambda function: st.tuples(
                st.just(function),
                st.lists(given.ARGUMENTS, min_size=FUNCTIONS[function], max_size=FUNCTIONS[function]),
            )
        ),
        _python,
    ),
    "texts": Case(st.text(max_size=300), _texts),
}
CASES |= {
    name: Case(content, data_files.reader_of(file), (DataError,)) for name, (file, content) in data_files.FILES.items()
}
