"""`instructseg evaluate`: benchmarks in, scores beside the paper's out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from instructseg.commands.report import FAILED, errors_in_one_line, say
from instructseg.errors import InputError
from instructseg.evaluation.benchmarks import BENCHMARKS, COMPOSED, Benchmark, chosen
from instructseg.types import Linking

if TYPE_CHECKING:
    from instructseg.evaluation.api import Settings
    from instructseg.evaluation.predictor import Answerer
    from instructseg.evaluation.runner import Processes
    from instructseg.types import Sample

RECIPE = Path("recipes/nano.yaml")
LONGEST_WAIT = timedelta(days=30)
"""Processes that are done wait for the slowest; the usual 10 or 30 minutes would end a run of uneven shares."""
WEIGHT_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")


class Masks(StrEnum):
    """The values of `evaluation.runner.SaveMasks`, which is too heavy to import for --help."""

    NO = "no"
    PNG = "png"
    RLE = "rle"


def evaluate(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL [NAME ...]", help="A model name or folder; more benchmarks.")
    ] = None,
    on: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A benchmark, e.g. refcoco/val.")] = None,
    data: Annotated[Path | None, typer.Option(metavar="ROOT", help="The folder that holds the datasets.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Results.")] = Path("evaluation"),
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many samples, drawn by the seed.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws the samples of --limit.")] = 0,
    save_masks: Annotated[Masks, typer.Option(help="Keep the masks, as files or in the records.")] = Masks.NO,
    predictions: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Score this folder's masks instead of a MODEL's.")
    ] = None,
    allow_failures: Annotated[bool, typer.Option(help="Count samples that fail as wrong instead of failing.")] = False,
    linking: Annotated[
        Linking, typer.Option(help="How clips are followed; off: each frame alone, as the paper's evaluators do.")
    ] = "off",
    recipe: Annotated[
        Path, typer.Option(help="Whose held-out photos templated/val and composed_clips/val use.")
    ] = RECIPE,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    list_: Annotated[bool, typer.Option("--list", help="Print the table of benchmarks and exit.")] = False,
) -> None:
    """Score MODEL on benchmarks; results.md in DIR has the paper's figures beside ours. See --list for the names.

    Start it again and it goes on where it was. `accelerate launch -m instructseg evaluate ...` shares the work among
    GPUs, `torchrun --nproc-per-node 2 -m instructseg evaluate ...` among processes of a CPU.
    """
    if list_:
        typer.echo(table())
        return
    with errors_in_one_line():
        from instructseg.evaluation.api import Settings
        from instructseg.evaluation.runner import SaveMasks

        model, rows = _request(words or [], on or [], predictions)
        if data is None:
            raise InputError("no --data was given; name the folder that holds the datasets")
        samples = {row.name: open_samples(row, data, recipe) for row in rows}  # what is missing shows before hours pass
        processes, device = shared_processes(device)
        system = _system(model, predictions, device, dtype, linking)
        for row in rows:
            answerer, facts = system(row)
            settings = Settings(facts, limit, seed, SaveMasks(save_masks.value), allow_failures)
            _run(row, samples[row.name], answerer, output / row.name, settings, processes)
        if processes.rank == 0 and not _report(rows, output):
            raise typer.Exit(FAILED)


def table() -> str:
    """The benchmarks as lines of text."""
    lines = []
    for row in BENCHMARKS.values():
        paper = ", ".join(f"{name} {figure}" for name, figure in row.paper.items())
        figures = f" Paper ({row.source}): {paper}." if paper else ""
        lines.append(f"{row.name:28}{', '.join(row.metrics)}: {row.protocol}.{figures}")
    return "\n".join(lines)


def open_samples(row: Benchmark, root: Path, recipe: Path) -> Sequence[Sample]:
    """A benchmark's samples. Raises DataError for a dataset that is not there."""
    if row.dataset not in COMPOSED:
        from instructseg.data.catalogue.registry import entry

        return entry(row.dataset).open(root, row.split, **row.options)
    from instructseg.synthesis.composer import validation_set
    from instructseg.synthesis.validation_clips import ValidationClips
    from instructseg.training.data.photos import compose_config, open_photos
    from instructseg.training.recipe import load_recipe

    settings = load_recipe(recipe, [f"data.root={root}"]).data
    photos, config = open_photos(settings, validation=True), compose_config(settings)
    if row.dataset == "composed_clips":
        return ValidationClips(photos, size=config.size, seed=0)
    return validation_set(photos, config, seed=0)


def _request(words: list[str], on: list[str], predictions: Path | None) -> tuple[str | None, list[Benchmark]]:
    """Model and benchmarks: `--on a b` leaves b among the words."""
    model, more = (None, words) if predictions else (words[0] if words else None, words[1:])
    if model is None and predictions is None:
        raise InputError("no MODEL was given; name one (nano, a folder), or give --predictions DIR")
    if not [*on, *more]:
        raise InputError("no benchmark was given; name some with --on, see --list")
    return model, chosen([*on, *more])


def shared_processes(device: str) -> tuple[Processes, str]:
    """This process among those that `accelerate launch` or torchrun started, and the device it is to use."""
    import torch
    from accelerate import PartialState

    from instructseg.evaluation.runner import Processes

    cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    state = PartialState(cpu=cpu, timeout=LONGEST_WAIT)
    own = str(state.device) if device == "auto" and state.num_processes > 1 else device
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone), own


def _system(
    model: str | None, predictions: Path | None, device: str, dtype: str, linking: Linking
) -> Callable[[Benchmark], tuple[Answerer, dict[str, Any]]]:
    """What is asked on each benchmark, with its name and hash."""
    from instructseg.evaluation.provenance import hash_files

    if predictions is not None:
        from instructseg.evaluation.saved_predictions import Predictions

        def read(row: Benchmark) -> tuple[Answerer, dict[str, Any]]:
            answers = Predictions(predictions / row.name)
            return answers, {"name": predictions.name, "hash": hash_files(answers.files(), predictions)}

        return read
    from huggingface_hub import snapshot_download

    from instructseg.commands.answering import SegmenterAnswers
    from instructseg.inference.checkpoints import find_checkpoint
    from instructseg.inference.segmenter import Segmenter

    segmenter = Segmenter.load(model or "", device=device, dtype=dtype)
    found = Path(find_checkpoint(model or ""))
    folder = found if found.is_dir() else Path(snapshot_download(str(found), local_files_only=True))
    weights = [path for name in WEIGHT_FILES for path in folder.glob(name)]
    facts = {"name": model, "hash": hash_files(weights, folder), "dtype": str(segmenter.model.dtype)}
    facts |= {"linking": linking, "score_threshold": segmenter.model.config.score_threshold}
    facts |= {name: getattr(segmenter.model.config, name) for name in ("video_threshold", "video_contrast")}
    return lambda row: (SegmenterAnswers(segmenter, linking), facts)


def _run(
    row: Benchmark,
    samples: Sequence[Sample],
    answerer: Answerer,
    folder: Path,
    settings: Settings,
    processes: Processes,
) -> None:
    """One benchmark with a progress bar of the first process's share."""
    from rich.console import Console
    from rich.progress import Progress

    from instructseg.evaluation.api import evaluate as records

    console = Console(stderr=True)
    share = min(len(samples), settings.limit or len(samples)) // processes.count
    with Progress(console=console, disable=processes.rank > 0 or not console.is_terminal) as progress:
        bar = progress.add_task(row.name, total=share)
        for record in records(row, samples, answerer, folder, settings, processes):
            progress.advance(bar)
            if "error" in record:
                say(f"{row.name}, sample {record.get('id', record['index'])}: {record['error']}")


def _report(rows: Sequence[Benchmark], output: Path) -> bool:
    """Write and print the table of all results of the model in `output`; whether these benchmarks have scores."""
    from instructseg.evaluation.results import failure, gather, read_results, write_table

    results = [read_results(output / row.name) for row in rows]
    typer.echo(write_table(output, gather(output, results[0]["model"]["name"])))
    for result in results:
        if result["scores"] is None:
            say(f"error: {failure(result)}; repair them and run the same command again, or give --allow-failures")
    return all(result["scores"] is not None for result in results)
