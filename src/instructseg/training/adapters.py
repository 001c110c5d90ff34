"""LoRA adapters on disk, in peft's format for the whole model: peft and this package read each other's folders.

Modules that were trained in full are stored beside them, in a file that peft ignores. Together they describe a
fine-tuned model as its base model plus a few megabytes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from instructseg.errors import CheckpointError
from instructseg.media.folders import check_manifest
from instructseg.model.modeling import InstructSegModel
from instructseg.training.token_row import restore_row

WEIGHTS = "adapter_model.safetensors"
PARTS = "trained_parts.safetensors"
PREFIX = "base_model.model."  # peft's prefix for the model it wraps
LANGUAGE_MODEL = "language_model."
LORA = ".lora_"
_ADVICE = "use the model that they were trained on"


def save_adapters(model: InstructSegModel, directory: Path, base: str | None = None, parts: Sequence[str] = ()) -> None:
    """Write the adapters that `add_lora` or `load_adapters` added; `base` names the model they belong to.

    `peft.PeftModel.from_pretrained(model, directory)` reads them. `parts`: names of parameters outside the language
    model that were trained in full; they are written too, see `load_trained_parts`. Raises CheckpointError if there are
    no adapters.
    """
    from peft import get_peft_model_state_dict

    root, prefix = _adapted(model)
    directory.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(root, save_embedding_layers=False)
    state = {f"{prefix}{key}": tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    config = copy.copy(next(iter(root.peft_config.values())))
    config.base_model_name_or_path, config.target_modules = base, _adapted_modules(state)
    config.save_pretrained(directory)
    save_file({f"{PREFIX}{key}": tensor for key, tensor in state.items()}, directory / WEIGHTS, {"format": "pt"})
    if parts:
        values = {name: model.get_parameter(name).detach().cpu().contiguous() for name in parts}
        save_file(values, directory / PARTS, metadata={"format": "pt"})


def load_adapters(model: InstructSegModel, directory: Path) -> None:
    """Add saved adapters to a model that has none, and restore the modules trained in full with them, in place.

    Reads the folders of `save_adapters`, those of peft for the whole model (with `modules_to_save`, too) and those of
    peft for the language model alone. Raises CheckpointError if they cannot be read, differ from their manifest or do
    not fit.
    """
    from peft import LoraConfig, PeftConfig, inject_adapter_in_model, set_peft_model_state_dict

    check_manifest(directory)
    try:
        config = PeftConfig.from_pretrained(str(directory))
        state = _whole_model_names(load_file(directory / WEIGHTS), model)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(
            f"{directory} has no readable adapters: {error}; pass a folder written by training or by peft"
        ) from error
    if not isinstance(config, LoraConfig):
        raise CheckpointError(f"{directory}: expected LoRA adapters, got {config.peft_type}; train with LoRA")
    adapters = {name: tensor for name, tensor in state.items() if LORA in name}
    _restore_parts(model, {name: state[name] for name in state.keys() - adapters.keys()}, directory)
    config.target_modules, config.modules_to_save = _adapted_modules(adapters), None  # exactly the stored ones
    config.exclude_modules = config.layers_to_transform = config.layers_pattern = None
    try:
        inject_adapter_in_model(config, model)
        outcome = set_peft_model_state_dict(model, adapters)
    except (ValueError, RuntimeError) as error:
        message = f"the adapters in {directory} do not fit this language model: {error}; {_ADVICE}"
        raise CheckpointError(message) from error
    missing = [key for key in outcome.missing_keys if "lora_" in key]
    if missing or outcome.unexpected_keys:
        name = (missing + outcome.unexpected_keys)[0]
        raise CheckpointError(f"the adapters in {directory} do not fit this language model, first at {name}; {_ADVICE}")
    load_trained_parts(model, directory)


def load_trained_parts(model: InstructSegModel, directory: Path) -> None:
    """Restore the modules that were trained in full beside the adapters, in place; there may be none.

    For those who load the adapters with peft alone: call it before `PeftModel.from_pretrained`. Raises CheckpointError
    if they do not fit.
    """
    if (directory / PARTS).is_file():
        try:
            parts = load_file(directory / PARTS)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{directory / PARTS} cannot be read: {error}; copy the folder again") from error
        _restore_parts(model, parts, directory)


def _adapted(model: InstructSegModel) -> tuple[Any, str]:
    """The module whose layers have adapters, and the beginning of its parameters' names."""
    if getattr(model.language_model, "peft_config", None):
        return model.language_model, LANGUAGE_MODEL
    if getattr(model, "peft_config", None):
        return model, ""
    raise CheckpointError("the language model has no adapters to save; save them before `merge_lora`")


def _adapted_modules(names: Mapping[str, Tensor]) -> list[str]:
    """Names of the modules that a state dict has adapters for."""
    return sorted({name.partition(LORA)[0] for name in names if LORA in name})


def _whole_model_names(state: Mapping[str, Tensor], model: InstructSegModel) -> dict[str, Tensor]:
    """Tensors by their names in the whole model; adapters of the language model alone lack its name."""
    plain = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    own = (*(f"{name}." for name, _ in model.named_children()), "mask_tokens")
    whole = any(name.startswith(own) for name in plain)
    return plain if whole else {f"{LANGUAGE_MODEL}{name}": tensor for name, tensor in plain.items()}


def _restore_parts(model: InstructSegModel, parts: dict[str, torch.Tensor], directory: Path) -> None:
    parameters = dict(model.named_parameters())
    for name, value in parts.items():
        if restore_row(model, name, value):
            continue
        if name not in parameters or parameters[name].shape != value.shape:
            raise CheckpointError(f"the trained parts in {directory} do not fit this model, first at {name}; {_ADVICE}")
        parameters[name].data.copy_(value)
