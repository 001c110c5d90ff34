"""Run exported graphs beside the modules they come from: largest differences, and calls to time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from instructseg.onnx_export.graphs import Tensors

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_graph(path: Path, threads: int | None = None) -> InferenceSession:
    """A graph in onnxruntime on the CPU; `threads` None: as many as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def inputs_for(session: InferenceSession, named: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The arrays that a graph reads; it has no input for a tensor that it does not need."""
    return {item.name: named[item.name].numpy() for item in session.get_inputs()}


def outputs_of(session: InferenceSession, named: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    names = [item.name for item in session.get_outputs()]
    arrays = map(np.asarray, session.run(None, inputs_for(session, named)))
    return dict(zip(names, arrays, strict=True))


@torch.inference_mode()
def expected_of(module: nn.Module, named: Tensors) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module(named).items()}


def differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The largest absolute difference of each output, divided by the output's largest absolute value where that is
    above 1: relative to the scale of the output, and absolute for small ones."""
    table = {}
    for name, values in expected.items():
        values, other = values.astype(np.float64), found[name].astype(np.float64)
        table[name] = float(np.abs(other - values).max() / max(1.0, np.abs(values).max()))
    return table
