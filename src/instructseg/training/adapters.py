"""LoRA adapters of the language model on disk, in peft's format, which makes them exchangeable with other tools.

Modules that were trained in full are stored beside them, in a file that peft ignores. Together they describe a
fine-tuned model as its base model plus a few megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from instructseg.errors import CheckpointError
from instructseg.media.folders import check_manifest
from instructseg.model.modeling import InstructSegModel
from instructseg.training.token_row import restore_row

WEIGHTS = "adapter_model.safetensors"
PARTS = "trained_parts.safetensors"
PREFIX = "base_model.model."  # peft's prefix for the model it wraps, here the language model


def save_adapters(model: InstructSegModel, directory: Path, base: str | None = None, parts: Sequence[str] = ()) -> None:
    """Write the adapters that `add_lora` added; `base` names the model they belong to.

    `parts`: names of parameters outside the language model that were trained in full; they are written too.
    Raises CheckpointError if there are no adapters.
    """
    from peft import get_peft_model_state_dict

    configs = getattr(model.language_model, "peft_config", None)
    if not configs:
        raise CheckpointError("the language model has no adapters to save; save them before `merge_lora`")
    directory.mkdir(parents=True, exist_ok=True)
    config = next(iter(configs.values()))
    config.base_model_name_or_path = base
    config.save_pretrained(directory)
    state = get_peft_model_state_dict(model.language_model, save_embedding_layers=False)
    state = {f"{PREFIX}{key}": tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    save_file(state, directory / WEIGHTS, metadata={"format": "pt"})
    if parts:
        values = {name: model.get_parameter(name).detach().cpu().contiguous() for name in parts}
        save_file(values, directory / PARTS, metadata={"format": "pt"})


def load_adapters(model: InstructSegModel, directory: Path) -> None:
    """Add saved adapters to a language model that has none, and restore the modules trained with them, in place.

    Raises CheckpointError if they cannot be read, differ from their manifest or do not fit.
    """
    from peft import LoraConfig, PeftConfig, inject_adapter_in_model, set_peft_model_state_dict

    check_manifest(directory)
    try:
        config = PeftConfig.from_pretrained(str(directory))
        state = load_file(directory / WEIGHTS)
        parts = load_file(directory / PARTS) if (directory / PARTS).is_file() else {}
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(f"{directory} has no readable adapters: {error}") from error
    if not isinstance(config, LoraConfig):
        raise CheckpointError(f"{directory}: expected LoRA adapters, got {config.peft_type}")
    try:
        inject_adapter_in_model(config, model.language_model)
        state = {key.removeprefix(PREFIX): tensor for key, tensor in state.items()}
        outcome = set_peft_model_state_dict(model.language_model, state)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"the adapters in {directory} do not fit this language model: {error}") from error
    missing = [key for key in outcome.missing_keys if "lora_" in key]
    if missing or outcome.unexpected_keys:
        name = (missing + outcome.unexpected_keys)[0]
        raise CheckpointError(f"the adapters in {directory} do not fit this language model, first at {name}")
    _restore_parts(model, parts, directory)


def _restore_parts(model: InstructSegModel, parts: dict[str, torch.Tensor], directory: Path) -> None:
    parameters = dict(model.named_parameters())
    for name, value in parts.items():
        if restore_row(model, name, value):
            continue
        if name not in parameters or parameters[name].shape != value.shape:
            raise CheckpointError(f"the trained parts in {directory} do not fit this model, first at {name}")
        parameters[name].data.copy_(value)
