"""`instructseg bench onnx`: the exported graphs in onnxruntime and the same modules in torch, in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from instructseg.bench.inputs import TEXTS, example_photos
from instructseg.bench.models import describe, open_model
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.timing import take_turns
from instructseg.inference.segmenter import Segmenter
from instructseg.onnx_export.graphs import Tensors
from instructseg.onnx_export.running import differences, expected_of, inputs_for, open_graph, outputs_of
from instructseg.onnx_export.writing import Graph, check_installed, graphs_of, prompt_texts, write_onnx
from instructseg.types import Task

CPU = torch.device("cpu")


def run(options: Options) -> Report:
    """Write bench_onnx_SCALE.json; `options.device` and `options.dtype` are not read: float32 on the CPU.

    Raises InputError when a module of the extra `onnx` is missing.
    """
    check_installed()
    import onnxruntime

    segmenter = open_model(options.scale, "cpu", "float32", options.seed, options.model)
    facts = describe(segmenter, options.scale, options.seed)
    report = Report("onnx", options, **facts, onnxruntime=onnxruntime.__version__, texts=len(TEXTS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "onnx"
        write_onnx(segmenter.model, segmenter.processor, folder)
        report.section("file sizes", {path.name: path.stat().st_size for path in sorted(folder.iterdir())})
        measure(report, segmenter, folder, options.rounds)
    return report


def measure(report: Report, segmenter: Segmenter, folder: Path, rounds: int) -> None:
    """Seconds of each graph in torch and in onnxruntime, and how far their outputs are apart."""
    graphs = graphs_of(segmenter.model, segmenter.processor)
    apart: dict[str, float] = {}
    for name, (graph, inputs) in cases(segmenter, graphs).items():
        with failures_recorded(report, name):
            session = open_graph(folder / f"{graph}.onnx")
            expected = expected_of(graphs[graph].module, inputs)
            apart[name] = max(differences(outputs_of(session, inputs), expected).values())
            feed = inputs_for(session, inputs)
            calls: dict[str, Callable[[], Any]] = {
                "torch": lambda graph=graph, inputs=inputs: expected_of(graphs[graph].module, inputs),
                "onnxruntime": lambda session=session, feed=feed: session.run(None, feed),
            }
            write = lambda table, name=name: report.update({name: table})  # noqa: E731
            report.section(name, take_turns(calls, rounds, CPU, on_round=write))
    report.section("largest differences", apart)
    if apart:
        report.section("largest difference", max(apart.values()))


def cases(segmenter: Segmenter, graphs: dict[str, Graph]) -> dict[str, tuple[str, Tensors]]:
    """What is measured: its name -> the graph and its inputs, each computed by torch from an example photo."""
    processor = segmenter.processor
    images = processor.prepare_images(example_photos(1))
    named = prompt_texts(processor, Task.RES)
    for name in ("pixel_values", "clip_pixel_values"):
        if (pixels := getattr(images, name)) is not None:
            named[name] = pixels
    found: dict[str, tuple[str, Tensors]] = {}

    def add(case: str, graph: str) -> None:
        taken = {name: named[name] for name in graphs[graph].inputs}
        found[case] = (graph, taken)
        with torch.inference_mode():
            named.update(graphs[graph].module(taken))

    add("photo: encode", "encode")
    add("prompt's beginning: prefix", "prefix")
    for case, texts in (("one text: answer", TEXTS[:1]), ("eight texts: answer", TEXTS)):
        ids = [torch.tensor(processor.prompts.instruction_ids(text)) for text in texts]
        named["words"] = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-1)
        add(case, "answer")
    return found
