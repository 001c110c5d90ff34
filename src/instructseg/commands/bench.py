"""`instructseg bench`: measure speed and memory on this machine, and write the tables of docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from instructseg.commands.options import DeviceOption, DtypeOption
from instructseg.commands.report import errors_in_one_line, note

if TYPE_CHECKING:
    from instructseg.bench.options import Options

Scale = Literal["nano", "paper", "tiny"]
ScaleOption = Annotated[
    Scale,
    typer.Option(help="nano; paper: the 3B size, random weights; tiny: random weights, to try the command itself."),
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="RESULTS", help="The folder of the result files.")
]
RunsOption = Annotated[
    int | None, typer.Option(min=1, help="Runs of each case. [default: 7 for nano, 3 for paper, 2 for tiny]")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of random weights and masks.")]
ModelOption = Annotated[str, typer.Option(metavar="MODEL", help="Model of --scale nano: a name, folder or hub id.")]
RESULTS = Path("bench-results")

app = typer.Typer(help="Measure speed and memory on this machine.", no_args_is_help=True)


def _options(scale: Scale, device: str, dtype: str, output: Path, runs: int | None, seed: int, model: str) -> Options:
    from instructseg.bench.options import Options

    return Options(scale, device, dtype, output, model, runs, seed, say=note)


def _finished(report: Any) -> None:
    note(f"wrote {report.path}")
    if failed := [name for name, value in report.content.items() if isinstance(value, dict) and "failed" in value]:
        note(f"failed: {', '.join(failed)}")
        raise typer.Exit(1)


@app.command()
def photo(
    scale: ScaleOption = "nano", device: DeviceOption = "auto", dtype: DtypeOption = "auto",
    output: OutputOption = RESULTS, runs: RunsOption = None, seed: SeedOption = 0, model: ModelOption = "nano",
) -> None:  # fmt: skip
    """Photos: against the released schedule, texts in one pass, batches, memory, and each stage's share of the limit.

    nano takes 2 minutes on two cores, the paper's size 40.
    """
    with errors_in_one_line():
        from instructseg.bench import photo as bench

        _finished(bench.run(_options(scale, device, dtype, output, runs, seed, model)))


@app.command()
def video(
    scale: ScaleOption = "nano", device: DeviceOption = "auto", dtype: DtypeOption = "auto",
    output: OutputOption = RESULTS, runs: RunsOption = None, seed: SeedOption = 0, model: ModelOption = "nano",
) -> None:  # fmt: skip
    """A clip of 10 frames: 3 texts against the released schedule, frames a second with 1, 3 and 8 texts, memory.

    nano takes 6 minutes on two cores, the paper's size 60.
    """
    with errors_in_one_line():
        from instructseg.bench import video as bench

        _finished(bench.run(_options(scale, device, dtype, output, runs, seed, model)))


@app.command()
def train(
    scale: ScaleOption = "nano", device: DeviceOption = "auto", dtype: DtypeOption = "auto",
    output: OutputOption = RESULTS, runs: RunsOption = None, seed: SeedOption = 0, model: ModelOption = "nano",
) -> None:  # fmt: skip
    """Training: samples a second, where a step's time goes, waiting for data, gradient checkpointing.

    nano takes 3 minutes on two cores; the paper's size needs 60 GB of memory.
    """
    with errors_in_one_line():
        from instructseg.bench import train as bench

        _finished(bench.run(_options(scale, device, dtype, output, runs, seed, model)))


@app.command()
def metrics(output: OutputOption = RESULTS, seed: SeedOption = 0) -> None:
    """J and F against the usual toolkit's way, on made masks of 480 x 854; 1 minute."""
    with errors_in_one_line():
        from instructseg.bench import metrics as bench

        _finished(bench.run(_options("nano", "cpu", "auto", output, None, seed, "nano")))


@app.command()
def startup(
    output: OutputOption = RESULTS, runs: RunsOption = None,
    before: Annotated[
        Path | None, typer.Option(metavar="CHECKOUT", help="Another checkout, measured in turn with this package.")
    ] = None,
) -> None:  # fmt: skip
    """Cold processes: `import instructseg`, `--help` and `segment`, seconds and peak memory; 2 minutes."""
    with errors_in_one_line():
        from instructseg.bench import startup as bench

        _finished(bench.run(_options("nano", "cpu", "auto", output, runs, 0, "nano"), before))


@app.command()
def busy(output: OutputOption = RESULTS, runs: RunsOption = None) -> None:
    """Cold commands beside a busy loop on every core, and the cost of the thread policy without one; 8 minutes."""
    with errors_in_one_line():
        from instructseg.bench import busy as bench

        _finished(bench.run(_options("nano", "cpu", "auto", output, runs, 0, "nano")))


@app.command()
def gpu(
    scale: Annotated[
        Scale, typer.Option(help="paper: nano and the 3B size; nano: nano alone; tiny: every part with tiny models.")
    ] = "paper",
    device: DeviceOption = "cuda", output: OutputOption = RESULTS, runs: RunsOption = None, seed: SeedOption = 0,
    model: ModelOption = "nano",
    budget: Annotated[float, typer.Option(min=5, help="Seconds for all parts; later parts are left out.")] = 480,
) -> None:  # fmt: skip
    """One check of a machine with a GPU in 8 minutes: answers as on the CPU, speed, memory, training, torch.compile.

    Each part is a process of its own; one that fails is recorded in bench_gpu.json, and the next one starts.
    """
    with errors_in_one_line():
        from instructseg.bench.gpu import run as bench
        from instructseg.inference.arguments import choose_device

        choose_device(device)
        _finished(bench.run(_options(scale, device, "auto", output, runs, seed, model), budget))


@app.command()
def curves(
    scale: ScaleOption = "nano", device: DeviceOption = "auto", dtype: DtypeOption = "auto",
    output: OutputOption = RESULTS, runs: RunsOption = None, seed: SeedOption = 0, model: ModelOption = "nano",
) -> None:  # fmt: skip
    """How time grows with the image side, texts, reference frames, frames and photos; 5 minutes for nano."""
    with errors_in_one_line():
        from instructseg.bench import curves as bench

        _finished(bench.run(_options(scale, device, dtype, output, runs, seed, model)))


@app.command()
def quantize(
    scale: ScaleOption = "nano", device: DeviceOption = "auto", output: OutputOption = RESULTS,
    runs: RunsOption = None, seed: SeedOption = 0, model: ModelOption = "nano",
) -> None:  # fmt: skip
    """float32, bfloat16, int8 and int4 weights: memory, seconds, and how far masks drift; needs torchao.

    nano takes 5 minutes on two cores, the paper's size 30.
    """
    with errors_in_one_line():
        from instructseg.bench import quantize as bench

        _finished(bench.run(_options(scale, device, "auto", output, runs, seed, model)))


@app.command()
def onnx(
    scale: ScaleOption = "nano", output: OutputOption = RESULTS, runs: RunsOption = None, seed: SeedOption = 0,
    model: ModelOption = "nano",
) -> None:
    """The ONNX files of `export --onnx` in onnxruntime against torch, in float32 on the CPU; needs the extra onnx."""
    with errors_in_one_line():
        from instructseg.bench import onnx as bench

        _finished(bench.run(_options(scale, "cpu", "float32", output, runs, seed, model)))


@app.command()
def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder of result files.")] = RESULTS,
    into: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also replace what stands between the markers of a Markdown file."),
    ] = None,
) -> None:
    """Write report.md with every table, and the plots, beside the result files in RESULTS."""
    with errors_in_one_line():
        from instructseg.bench.report import write_report

        for path in write_report(results, into):
            note(f"wrote {path}")


EVERYTHING = {
    "nano": ("startup", "busy", "photo", "video", "train", "metrics", "curves", "quantize", "onnx"),
    "paper": ("photo", "video", "quantize"),
}  # fmt: skip


@app.command(name="all")
def everything(output: OutputOption = RESULTS) -> None:
    """Every measurement of this machine's processor, then the report: about 3 hours on two idle cores.

    Each runs in its own process. After a failure the next one starts; the last line lists what failed.
    """
    import subprocess
    import sys

    from instructseg.bench.options import WITHOUT_SCALE

    with errors_in_one_line():
        failed = []
        for scale, kinds in EVERYTHING.items():
            for kind in kinds:
                words = ["bench", kind, "-o", str(output)]
                words += [] if kind in WITHOUT_SCALE else ["--scale", scale]
                words += [] if kind in (*WITHOUT_SCALE, "onnx") else ["--device", "cpu"]
                note(f"instructseg {' '.join(words)}")
                if subprocess.run([sys.executable, "-m", "instructseg", *words]).returncode:
                    failed.append(f"{kind} {scale}")
        report(output)
        if failed:
            note(f"failed: {', '.join(failed)}")
            raise typer.Exit(1)
