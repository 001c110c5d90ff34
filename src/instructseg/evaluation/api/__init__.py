"""Evaluation from Python; `instructseg evaluate` is this function.

from instructseg.evaluation.api import evaluate

evaluation = evaluate("nano", ["refcoco/val"], data="/datasets", output="results")
evaluation.results[0]["scores"]["ciou"]  # 0..1
print(evaluation.table)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from instructseg.errors import InputError
from instructseg.evaluation.api.samples import open_samples
from instructseg.evaluation.api.systems import model_system, saved_system
from instructseg.evaluation.benchmark_run import run_benchmark
from instructseg.evaluation.benchmarks import Benchmark, choose_benchmarks
from instructseg.evaluation.options import RunOptions, SaveMasks
from instructseg.evaluation.processes import Processes, launched_processes
from instructseg.evaluation.records import Record
from instructseg.evaluation.results import describe_failures, gather, read_results, write_table
from instructseg.evaluation.runner import Evaluator, evaluate_here

if TYPE_CHECKING:
    from instructseg.types import Linking

__all__ = ["Evaluation", "SaveMasks", "evaluate", "open_samples"]

Progress = Callable[[Iterator[Record], Benchmark, int, Processes], Iterable[Record]]
"""(records, benchmark, expected number of records, this process) -> the same records, like tqdm."""


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    results: one results.json per benchmark, in the given order; its "scores" (0..1) are None if samples failed.
    table: results.md, Markdown: the scores of all benchmarks in the output folder beside the paper's.
    """

    results: Sequence[dict[str, Any]]
    table: str

    @property
    def failures(self) -> list[str]:
        """One message per benchmark whose scores are withheld."""
        return [describe_failures(result) for result in self.results if result["scores"] is None]


def evaluate(
    model: str | None,
    benchmarks: Sequence[str],
    data: str | Path,
    output: str | Path = "evaluation",
    *,
    predictions: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    save_masks: SaveMasks | str = SaveMasks.NO,
    allow_failures: bool = False,
    linking: Linking = "off",
    recipe: str | Path = "nano",
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    engine: Literal["local", "ray"] = "local",
    workers: int = 1,
    progress: Progress = lambda records, *about: records,
) -> Evaluation | None:
    """Score a model, or the saved predictions of another system, on benchmarks.

    An interrupted run resumes when called again with the same arguments. Processes started by `accelerate launch` or
    torchrun share the samples.

    Args:
        model: a shipped name ("nano"), a folder or a hub id; None when `predictions` is given.
        benchmarks: names from `evaluation.benchmarks.BENCHMARKS`, e.g. "refcoco/val".
        data: the folder with the datasets, in the layout that `instructseg data list` shows.
        output: the folder for results: per benchmark samples.jsonl, results.json and sheet.jpg, and one results.md.
        predictions: a folder of saved predictions (see `evaluation.saved_predictions`) to score instead of a model.
        limit: maximum number of samples per benchmark, drawn by `seed`; None evaluates all.
        seed: seed of the draw.
        save_masks: "no", "png" (files) or "rle" (COCO RLE in the records).
        allow_failures: True counts failed samples as wrong; False withholds the scores of their benchmark.
        linking: how objects are tracked through clips: "off" (each frame independently, as in the released
            evaluators), "causal" or "offline".
        recipe: the training recipe whose held-out photos templated/val and composed_clips/val are composed from.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", ...
        dtype: "auto", "float32", "bfloat16" or "float16".
        revision: branch, tag or commit, if `model` is a hub id; None: its default branch.
        engine: "local" evaluates in this process, or in those that were launched; "ray" on Ray actors, with the same
            records. All machines must see `data`, the model and `output` under the same paths.
        workers: number of Ray actors, each of which loads the model.
        progress: wraps the iterator of each benchmark's records, for progress bars and logs.

    Returns:
        The results; None in processes other than the first, which only share the work.

    Raises:
        InputError: an unknown benchmark or engine, both or neither of `model` and `predictions`, or an `output` folder
            with records of another model, limit or seed.
        DataError: a dataset is missing or damaged.
        CheckpointError: the model cannot be found or read.
    """
    if (model is None) == (predictions is None):
        raise InputError(
            "expected either a model or predictions; name a model (nano, a folder) or a predictions folder"
        )
    if model is None and revision is not None:
        raise InputError(f"expected no revision with saved predictions, got {revision!r:.100}; leave it out")
    if engine not in ("local", "ray") or workers < 1:
        raise InputError(f"expected engine local or ray and at least 1 worker, got {engine!r} and {workers!r}")
    rows, root = choose_benchmarks(benchmarks), Path(output)
    if not rows:
        raise InputError("expected at least one benchmark, got none; see `instructseg evaluate --list`")
    samples = {row.name: open_samples(row, Path(data), Path(recipe)) for row in rows}  # fail early if data is missing
    processes, device = launched_processes(device)
    if model is not None:
        system = model_system(model, device, dtype, linking, revision)
    else:
        system = saved_system(Path(predictions or ""))

    def _on_ray(name: str) -> Evaluator:
        import torch

        from instructseg.evaluation.api.ray_evaluator import ActorSetup, RayEvaluator

        saved = None if predictions is None else Path(predictions)
        threads = torch.get_num_threads()
        setup = ActorSetup(Path(data), Path(recipe), model, saved, device, dtype, linking, threads, revision)
        return RayEvaluator(setup, name, workers)

    for row in rows:
        predictor, facts = system(row)
        options = RunOptions(facts, limit, seed, SaveMasks(save_masks), allow_failures)
        evaluator = evaluate_here if engine == "local" else _on_ray(row.name)
        records = run_benchmark(row, samples[row.name], predictor, root / row.name, options, processes, evaluator)
        available = len(samples[row.name])
        for _ in progress(records, row, min(available, limit or available) // processes.count, processes):
            pass
    return _collect(rows, root) if processes.rank == 0 else None


def _collect(rows: Sequence[Benchmark], root: Path) -> Evaluation:
    """Read the results of `rows` and write the table of all results in `root` of the same model."""
    results = [read_results(root / row.name) for row in rows]
    return Evaluation(results, write_table(root, gather(root, results[0]["model"]["name"])))
