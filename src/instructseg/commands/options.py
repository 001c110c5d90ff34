"""Options that several commands share: the model, and where and in which number format it runs.

The environment variables INSTRUCTSEG_MODEL and INSTRUCTSEG_DEVICE replace the defaults; an option given on the command
line wins over its variable, and an empty variable counts as unset. `instructseg.inference.hub` reads
INSTRUCTSEG_CACHE, for the library as well.
"""

from __future__ import annotations

from typing import Annotated

import typer

MODEL_VARIABLE, DEVICE_VARIABLE = "INSTRUCTSEG_MODEL", "INSTRUCTSEG_DEVICE"


def shipped_models() -> list[str]:
    """Completions of a model's name; a test compares them with `inference.checkpoints`, which takes long to import."""
    return ["nano"]


def devices() -> list[str]:
    """Completions of a device."""
    return ["auto", "cpu", "cuda", "mps"]


def number_formats() -> list[str]:
    """Completions of a number format."""
    return ["auto", "float32", "bfloat16", "float16"]


ModelOption = Annotated[
    str,
    typer.Option(
        envvar=MODEL_VARIABLE, autocompletion=shipped_models, metavar="NAME",
        help="Name of a shipped model, folder with weights, or Hugging Face hub id.",
    ),
]  # fmt: skip
DeviceOption = Annotated[
    str,
    typer.Option(
        envvar=DEVICE_VARIABLE, autocompletion=devices, metavar="DEVICE",
        help="auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.",
    ),
]  # fmt: skip
DtypeOption = Annotated[
    str,
    typer.Option(
        autocompletion=number_formats, metavar="DTYPE",
        help="Number format: auto (bfloat16 on a GPU), float32, bfloat16 or float16.",
    ),
]  # fmt: skip
