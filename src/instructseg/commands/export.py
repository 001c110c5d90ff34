"""`instructseg export`: write a trained model with weights of 8 or 4 bits, or as ONNX files."""

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
        Path,
        typer.Argument(metavar="DIR", help="The folder to write; an earlier model in it is replaced (not by --onnx)."),
    ],
    storage: Annotated[
        Storage | None,
        typer.Option(
            help="int8, or int4: 4 bits for the language model and the perceiver, int8 elsewhere. [default: int8]"
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help='Minimum mask score; below it the result is "no target".')
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="Write ONNX files in float32 for onnxruntime instead; takes minutes.")
    ] = False,
) -> None:
    """Write MODEL with int8 or int4 weights or as ONNX files, and optionally another score threshold, to DIR."""
    with errors_in_one_line():
        from instructseg.conversion.writing import refuse_occupied
        from instructseg.errors import InputError
        from instructseg.inference.segmenter import Segmenter
        from instructseg.media.folders import new_folder, refuse_foreign
        from instructseg.model.storage import save_compact

        if onnx and storage is not None:
            raise InputError("expected --storage or --onnx, got both; ONNX files are in float32")
        if onnx:
            from instructseg.onnx_export.writing import check_installed

            check_installed()
            refuse_occupied(target)
        else:
            refuse_foreign(target)
        segmenter = Segmenter.load(source, device="cpu", dtype="float32")
        if threshold is not None:
            segmenter.model.config.score_threshold = threshold
        if onnx:
            from instructseg.onnx_export.writing import WEIGHTS, write_onnx

            write_onnx(segmenter.model, segmenter.processor, target)
            size = (target / WEIGHTS).stat().st_size
        else:
            with new_folder(target, replace=True) as folder:
                save_compact(segmenter.model, folder, (storage or Storage.int8).value)
                segmenter.processor.save_pretrained(folder)
            size = sum(path.stat().st_size for path in target.glob("*.safetensors"))
        note(f"{target}: {size / 1e6:.1f} MB of weights")
