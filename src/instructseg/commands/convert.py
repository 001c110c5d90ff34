"""`instructseg convert`: convert checkpoints of other projects to a folder that `Segmenter.load` reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.commands.report import errors_in_one_line

if TYPE_CHECKING:
    from instructseg.conversion.convert import ConversionReport
    from instructseg.model.configuration import InstructSegConfig

Destination = Annotated[Path, typer.Argument(metavar="DST", help="The folder to write; it must not exist yet.")]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A config.json, for a model whose sizes differ from the paper's.")
]

app = typer.Typer(help="Convert checkpoints of other projects to the format of this package.", no_args_is_help=True)


@app.command()
def released(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The authors' checkpoint, a folder or a file.")],
    destination: Destination,
    config: Config = None,
) -> None:
    """Convert the authors' released model; the result reproduces its predictions."""
    with errors_in_one_line():
        from instructseg.conversion.convert import convert_released

        _print_report(convert_released(source, destination, _read(config)), destination)


@app.command()
def base(
    destination: Destination,
    mipha: Annotated[Path, typer.Option(metavar="SRC", help="Mipha's checkpoint: language model, SigLIP, projector.")],
    mask2former: Annotated[Path, typer.Option(metavar="SRC", help="Mask2Former's .pkl file: Swin and both decoders.")],
    siglip: Annotated[
        Path | None, typer.Option(metavar="SRC", help="A SigLIP checkpoint to use instead of Mipha's.")
    ] = None,
    config: Config = None,
) -> None:
    """Build the initial weights for training: pretrained parts, and the paper's new modules randomly initialized."""
    with errors_in_one_line():
        from instructseg.conversion.convert import convert_base

        _print_report(convert_base(mipha, mask2former, destination, _read(config), siglip), destination)


def _read(config: Path | None) -> InstructSegConfig | None:
    if config is None:
        return None
    from instructseg.errors import CheckpointError
    from instructseg.model.configuration import InstructSegConfig

    try:
        return InstructSegConfig.from_json_file(config)
    except Exception as error:  # on foreign files transformers raises almost any exception
        raise CheckpointError(f"{config} is not a valid configuration ({error}); pass a config.json") from error


def _print_report(report: ConversionReport, destination: Path) -> None:
    for line in report.summary():
        typer.echo(line)
    typer.echo(f"written to {destination}; every key is listed in {destination / 'conversion.json'}")
