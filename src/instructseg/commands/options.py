"""Options that several commands share: the model, how it runs, and how photos and clips are segmented.

The environment variables INSTRUCTSEG_MODEL and INSTRUCTSEG_DEVICE replace the defaults; an option given on the command
line wins over its variable, and an empty variable counts as unset. `instructseg.inference.hub` reads
INSTRUCTSEG_CACHE, for the library as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from instructseg.types import Linking

if TYPE_CHECKING:
    from instructseg.inference.segmenter import Segmenter

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


MODEL_HELP = "Name of a shipped model, folder with weights, or Hugging Face hub id."
ModelOption = Annotated[
    str, typer.Option(envvar=MODEL_VARIABLE, autocompletion=shipped_models, metavar="NAME", help=MODEL_HELP)
]
ModelArgument = Annotated[
    str, typer.Argument(envvar=MODEL_VARIABLE, autocompletion=shipped_models, metavar="MODEL", help=MODEL_HELP)
]
RevisionOption = Annotated[
    str | None,
    typer.Option(metavar="REVISION", help="Branch, tag or commit of a hub id. [default: the hub's default branch]"),
]
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
TaskOption = Annotated[
    Literal["res", "reason_seg"] | None,
    typer.Option(
        help="res: the sentence names the object; reason_seg: it implies it, e.g. by a question. "
        "[default: inferred from the form of the sentence]"
    ),
]
MaxMasksOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Photos: maximum number of masks per sentence. [default: as the sentence asks]"
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, metavar="SCORE", help="Minimum mask score; 0: none. [default: the model's]"),
]
EveryOption = Annotated[int, typer.Option(min=1, metavar="N", help="Clips: read every N-th frame.")]
MaxSideOption = Annotated[
    int | None,
    typer.Option(min=8, metavar="PIXELS", help="Clips: shrink frames to this longer side. [default: full size]"),
]
LinkingOption = Annotated[
    Linking | None,
    typer.Option(
        help="Clips: track objects over the whole clip (offline) or up to each frame (causal), or segment each "
        "frame separately (off). [default: offline]"
    ),
]


@dataclass(frozen=True)
class ModelChoice:
    """The model that a command was asked to use."""

    name: str
    device: str
    dtype: str
    revision: str | None

    def load(self) -> Segmenter:
        """The loaded model; raises as `Segmenter.load`."""
        from instructseg.inference.segmenter import Segmenter

        return Segmenter.load(self.name, device=self.device, dtype=self.dtype, revision=self.revision)
