"""`instructseg export`: write a trained model with weights of 8 or 4 bits."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.report import errors_in_one_line, note


class Storage(StrEnum):
    """Storage formats of `save_compact`."""

    int8 = "int8"
    int4 = "int4"


def export(
    source: Annotated[Path, typer.Argument(metavar="MODEL", help="A model's folder, e.g. runs/nano/model.")],
    target: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write; an earlier model in it is replaced.")
    ],
    storage: Annotated[
        Storage, typer.Option(help="int8, or int4: 4 bits for the language model and the perceiver, int8 elsewhere.")
    ] = Storage.int8,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help='Minimum mask score; below it the result is "no target".')
    ] = None,
) -> None:
    """Write MODEL with int8 or int4 weights, and optionally another score threshold, to DIR."""
    with errors_in_one_line():
        from instructseg.inference.segmenter import Segmenter
        from instructseg.media.folders import new_folder, refuse_foreign
        from instructseg.model.storage import save_compact

        refuse_foreign(target)
        segmenter = Segmenter.load(source, device="cpu", dtype="float32")
        if threshold is not None:
            segmenter.model.config.score_threshold = threshold
        with new_folder(target, replace=True) as folder:
            save_compact(segmenter.model, folder, storage.value)
            segmenter.processor.save_pretrained(folder)
        size = sum(path.stat().st_size for path in target.glob("*.safetensors"))
        note(f"{target}: {size / 1e6:.1f} MB of weights")
