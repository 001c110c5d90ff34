"""Write a model's photo path as ONNX files: three graphs, one file of weights, the tokenizer, and the settings.

    DIR/encode.onnx, prefix.onnx, answer.onnx   the graphs of `graphs.py`
    DIR/weights.bin                             float32, each tensor once: prefix and answer share the language model
    DIR/tokenizer.json                          for the library `tokenizers`
    DIR/settings.json                           how to prepare a photo, prompts as token ids, score threshold

`examples/onnx_photo.py` reads them without torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim

from instructseg.errors import InputError
from instructseg.media.folders import new_folder
from instructseg.model.layout import Block
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.onnx_export.graphs import TOKEN_INPUTS, Answer, Encode, Prefix, PromptForm, Tensors
from instructseg.types import Task

if TYPE_CHECKING:
    import onnx_ir

WEIGHTS, SETTINGS, TOKENIZER = "weights.bin", "settings.json", "tokenizer.json"
TASKS = (Task.RES, Task.REASON_SEG)
"""The tasks of photos."""
MODULES = ("onnx", "onnx_ir", "onnxruntime", "onnxscript")
INSTALL = 'pip install "instructseg[onnx]"'
OLDEST_TORCH = (2, 13)
"""The oldest version whose exporter was tested."""

SMALL = 1024  # bytes of a tensor that stays in its graph: shapes and constants
ALIGNMENT = 4096  # of tensors in the file of weights, which onnxruntime maps into memory
EXAMPLE_WORDS = (3, 5)  # texts and tokens while a graph is traced


@dataclass(frozen=True)
class Graph:
    """A graph before it is written: its module, inputs to trace it with, and the axes of inputs that vary."""

    module: nn.Module
    inputs: Tensors
    varying: dict[str, tuple[int, ...]]

    @property
    def dynamic_shapes(self) -> dict[str, dict[int, Any] | None]:
        axes = {name: dict.fromkeys(self.varying.get(name, ()), Dim.DYNAMIC) for name in self.inputs}
        return {name: dimensions or None for name, dimensions in axes.items()}


def check_installed() -> None:
    """Raises InputError when a module of the extra `onnx` is missing, or torch is older than what was tested."""
    if missing := [name for name in MODULES if importlib.util.find_spec(name) is None]:
        raise InputError(f"expected {', '.join(missing)} for ONNX, got none installed; {INSTALL}")
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise InputError(f"expected torch {oldest} or newer for ONNX, got {torch.__version__}; install a newer one")


def write_onnx(model: InstructSegModel, processor: InstructSegProcessor, destination: Path) -> None:
    """Write the files above into a new or empty folder.

    `model` must be in float32 on the CPU, so that weights that are stored as int8 or int4 are float32 numbers already.
    The input's side, the number of visual tokens and the batch of one photo are fixed; the number of texts and of
    tokens varies. Raises InputError when a module of the extra `onnx` is missing, for another number format or device,
    and when the folder cannot be written.
    """
    check_installed()
    if model.dtype != torch.float32 or model.device.type != "cpu":
        raise InputError(
            f"expected a model in float32 on the CPU, got {model.dtype} on {model.device}; "
            "load it with dtype='float32', device='cpu'"
        )
    with new_folder(destination) as folder:
        programs = {name: translate(graph) for name, graph in graphs_of(model, processor).items()}
        save_together(programs, folder)
        processor.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
        settings = json.dumps(settings_of(model, processor), indent=1)
        (folder / SETTINGS).write_text(settings, encoding="utf-8")


def graphs_of(model: InstructSegModel, processor: InstructSegProcessor) -> dict[str, Graph]:
    """The three graphs, with inputs made from a gray photo.

    The number of texts and of their tokens vary, the number of the prefix's tokens, and a text of the prompt that is
    not of the same length for all tasks.
    """
    form = PromptForm.of(processor.prompts.segmentation("a", TASKS[0]))
    side = processor.image_processor.side
    images = processor.prepare_images([np.full((side, side, 3), 127, np.uint8)])
    assert images.pixel_values is not None  # prepared by default
    pixels = {"pixel_values": images.pixel_values}
    if images.clip_pixel_values is not None:
        pixels["clip_pixel_values"] = images.clip_pixel_values
    prompts = [prompt_texts(processor, task) for task in TASKS]
    longest = {name: max((prompt[name] for prompt in prompts), key=len) for name in prompts[0]}
    texts = lambda part: {name: longest[name] for name in form.texts(part)}  # noqa: E731
    modules = Encode(model), Prefix(model, form), Answer(model, form, processor.image_tokens, processor.frame_tokens)
    encode, prefix, answer = (module.eval() for module in modules)
    with torch.no_grad():
        features = encode(pixels)
        tokens = {name: features[name] for name in TOKEN_INPUTS if name in features}
        beginning = (tokens if Block.IMAGE.value in form.prefix else {}) | texts(form.prefix)
        states = prefix(beginning)
    words = torch.ones(*EXAMPLE_WORDS, dtype=torch.long)
    asked = features | states | texts(form.rest) | {"words": words}
    varying = {"words": (0, 1), "keys": (2,), "values": (2,)}
    varying |= {name: (0,) for name in longest if len({len(prompt[name]) for prompt in prompts}) > 1}
    inputs = {"encode": (encode, pixels), "prefix": (prefix, beginning), "answer": (answer, asked)}
    return {name: Graph(module, named, varying) for name, (module, named) in inputs.items()}


def translate(graph: Graph) -> onnx_ir.Model:
    """Trace a graph and translate it."""
    inputs = {name: tensor.clone() for name, tensor in graph.inputs.items()}
    with torch.no_grad(), plain_attention(graph.module), quiet():
        outputs = list(graph.module(named=inputs))
        program = torch.onnx.export(
            graph.module, (), kwargs={"named": inputs}, dynamo=True,
            input_names=list(inputs), output_names=outputs, dynamic_shapes={"named": graph.dynamic_shapes},
        )  # fmt: skip
    assert program is not None
    return program.model


@contextlib.contextmanager
def plain_attention(graph: nn.Module) -> Iterator[None]:
    """Switch the language model to attention that does not depend on the mask's values."""
    model = graph.get_submodule("model")
    assert isinstance(model, InstructSegModel)
    chosen = model.language_model.config._attn_implementation
    assert chosen is not None
    model.language_model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        model.language_model.set_attn_implementation(chosen)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the exporter's progress on stdout and its warnings, which do not concern users."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def save_together(programs: dict[str, onnx_ir.Model], folder: Path) -> None:
    """Write graphs beside one file of weights, in which each tensor of the same bytes and shape stands once."""
    import onnx_ir

    places: dict[tuple[Any, ...], int] = {}
    with (folder / WEIGHTS).open("wb") as file:
        for model in programs.values():
            for value in model.graph.initializers.values():
                tensor = value.const_value
                if tensor is None or tensor.nbytes < SMALL:
                    continue
                data = tensor.tobytes()
                key = (hashlib.blake2b(data).digest(), tensor.dtype)
                if key not in places:
                    file.write(bytes(-file.tell() % ALIGNMENT))
                    places[key] = file.tell()
                    file.write(data)
                value.const_value = onnx_ir.ExternalTensor(
                    WEIGHTS, places[key], len(data), tensor.dtype, shape=onnx_ir.Shape(tensor.shape.numpy()),
                    name=value.name or "", base_dir=folder,
                )  # fmt: skip
    for name, model in programs.items():
        onnx_ir.save(model, folder / f"{name}.onnx")


def settings_of(model: InstructSegModel, processor: InstructSegProcessor) -> dict[str, Any]:
    """What a program needs beside the graphs; token ids of prompts by the name of the graphs' inputs."""
    images, config = processor.image_processor, model.config
    return {
        "image": {"side": images.side, "resize": images.resize, "mean": images.mean, "std": images.std},
        "clip_image": images.clip_side
        and {"side": images.clip_side, "mean": images.clip_mean, "std": images.clip_std},
        "prompts": {
            task.value: {name: ids.tolist() for name, ids in prompt_texts(processor, task).items()} for task in TASKS
        },
        "leading_space": processor.prompt_set != "released", "seg_id": processor.prompts.seg_id,
        "selection": config.selection, "score_threshold": config.score_threshold,
    }  # fmt: skip


def prompt_texts(processor: InstructSegProcessor, task: Task) -> Tensors:
    """The token ids of a prompt's texts, int64 (tokens,), by their names in `PromptForm`; a text may be empty."""
    texts = [span.ids for span in processor.prompts.segmentation("a", task) if span.block is Block.TEXT]
    return {f"text_{index}": torch.tensor(ids, dtype=torch.long) for index, ids in enumerate(texts)}
