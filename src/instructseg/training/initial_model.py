"""The initial model of a run and its processor: a saved model, or a preset built on pretrained parts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from instructseg.errors import CheckpointError, RecipeError
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.inference.loading import silence_transformers
from instructseg.media.files import expand_user
from instructseg.media.folders import check_manifest
from instructseg.model import presets
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.stored_weights import check_model_type
from instructseg.training.recipe import ModelRecipe, Recipe


def build_model(recipe: Recipe) -> tuple[InstructSegModel, InstructSegProcessor]:
    """A saved model, or a preset with pretrained parts. Raises RecipeError for other presets and invalid changes."""
    with silence_transformers():
        return _from_saved(recipe.model) if recipe.model.init else _from_preset(recipe)


def _from_preset(recipe: Recipe) -> tuple[InstructSegModel, InstructSegProcessor]:
    if recipe.model.preset != "nano":
        raise RecipeError(
            f"model.preset: {recipe.model.preset!r} has no pretrained parts in this package; use nano or set "
            "model.init (`instructseg convert base` writes the paper's initial weights)"
        )
    from instructseg.conversion.nano_base import build

    return build(build_config(recipe.model), recipe.seed)


def _from_saved(recipe: ModelRecipe) -> tuple[InstructSegModel, InstructSegProcessor]:
    """A saved model with the recipe's changes: weights that still fit are kept, new modules are initialized.

    Weights are float32, whatever the file holds.
    """
    folder = _find_initial(recipe)
    check_model_type(folder)
    check_manifest(folder)
    processor = InstructSegProcessor.from_pretrained(folder)
    if not recipe.config:
        model = InstructSegModel.from_pretrained(folder, dtype=torch.float32)
    else:
        config = _change(InstructSegConfig.from_pretrained(folder).to_dict(), recipe.config)
        try:
            model = InstructSegModel.from_pretrained(folder, config=config, dtype=torch.float32)
        except RuntimeError as error:  # shape mismatch
            reason = " ".join(str(error).split())
            raise RecipeError(f"the weights of {recipe.init} do not fit model.config: {reason:.300}") from error
        processor = InstructSegProcessor.for_config(config, processor.tokenizer)
    _reinitialize(model, recipe.fresh)
    if recipe.detector:
        _add_detector(model, processor, recipe.detector)
    return model, processor


def _add_detector(model: InstructSegModel, processor: InstructSegProcessor, folder: str) -> None:
    """Load the detector's published weights, and the word embeddings of its classes, in place."""
    from instructseg.conversion.nanodet import class_words, load_nanodet

    proposer = model.seed_proposer
    if proposer is None:
        raise RecipeError("model.detector: expected a model with seeds; set model.config.seed_config")
    load_nanodet(proposer.detector, expand_user(folder))
    embeddings = model.get_input_embeddings().get_parameter("weight").detach()
    proposer.class_words.copy_(class_words(processor.tokenizer, embeddings))


def _find_initial(recipe: ModelRecipe) -> str:
    try:
        return find_checkpoint(recipe.init or "")
    except CheckpointError as error:
        hint = (
            f"; `instructseg convert base {recipe.init} --mipha SRC --mask2former SRC` writes the weights to start the "
            f"paper's training from, `instructseg convert released SRC {recipe.init}` the authors' trained ones"
        )
        raise RecipeError(f"model.init: {error}{hint * (recipe.preset == 'paper')}") from error


def _reinitialize(model: InstructSegModel, names: Sequence[str]) -> None:
    """Reinitialize these modules, in place; modules that the configuration disables are skipped."""
    config = model.config
    assert isinstance(config, InstructSegConfig)
    fresh = InstructSegModel(config) if names else None
    for name in names:
        module = getattr(model, name, "unknown")
        if module is not None and not isinstance(module, nn.Module):
            known = ", ".join(child for child, _ in model.named_children())
            raise RecipeError(f"model.fresh: expected some of {known}, got {name!r}")
        if module is not None:
            module.load_state_dict(getattr(fresh, name).state_dict())


def build_config(recipe: ModelRecipe) -> InstructSegConfig:
    """The preset with the recipe's changes. Raises RecipeError for unknown fields and invalid values."""
    return _change(getattr(presets, recipe.preset)().to_dict(), recipe.config)


def _change(tree: dict[str, Any], changes: dict[str, Any]) -> InstructSegConfig:
    _merge(tree, changes)
    try:
        return InstructSegConfig.from_dict(tree)
    except (StrictDataclassError, ValueError) as error:
        raise RecipeError(f"model.config is invalid: {' '.join(str(error).split())}") from error


def _hint(key: str, tree: dict[str, Any]) -> str:
    near = difflib.get_close_matches(key, tree, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _merge(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if key not in tree:
            raise RecipeError(f"model.config.{key} is not a field of the model's configuration{_hint(key, tree)}")
        if isinstance(value, dict) and isinstance(tree[key], dict):
            _merge(tree[key], value)
        else:
            tree[key] = value
