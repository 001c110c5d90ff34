"""`instructseg merge`: merge LoRA adapters into a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.commands.report import errors_in_one_line, note

if TYPE_CHECKING:
    from instructseg.model.processing import InstructSegProcessor


def merge(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model name or a folder with weights.")],
    adapters: Annotated[Path, typer.Argument(metavar="ADAPTERS", help="A folder with adapters in PEFT's format.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write; it must not exist yet.")],
) -> None:
    """Merge LoRA adapters into the language model, and load the fully trained modules that were saved with them."""
    with errors_in_one_line():
        from instructseg.conversion.writing import refuse_occupied, write_folder
        from instructseg.inference.segmenter import Segmenter
        from instructseg.model.configuration import InstructSegConfig
        from instructseg.training.adapters import load_adapters
        from instructseg.training.parameters import merge_lora

        refuse_occupied(destination)
        segmenter = Segmenter.load(model, device="cpu", dtype="float32")
        load_adapters(segmenter.model, adapters)
        merge_lora(segmenter.model)
        merged, config = segmenter.model, segmenter.model.config
        assert isinstance(config, InstructSegConfig)
        tied = set(merged.all_tied_weights_keys) if config.tie_word_embeddings else set()
        tensors = ((name, tensor) for name, tensor in merged.state_dict().items() if name not in tied)
        write_folder(destination, config, tensors, lambda folder: _save_processor(segmenter.processor, folder))
        note(f"{destination}: {model} with {adapters} merged in")


def _save_processor(processor: InstructSegProcessor, folder: Path) -> None:
    processor.save_pretrained(folder)
