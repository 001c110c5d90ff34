"""What a run starts from: a model and its processor, saved or built on pretrained parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import nn

from instructseg.errors import RecipeError
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.model import presets
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.training.recipe import ModelRecipe, Recipe

PRESETS = ("nano", "paper", "tiny")


def build_model(recipe: Recipe) -> tuple[InstructSegModel, InstructSegProcessor]:
    """The model to start from: a saved one, or a preset on pretrained parts."""
    if recipe.model.init:
        return _go_on(recipe.model)
    if recipe.model.preset != "nano":
        raise RecipeError(
            f"model.preset {recipe.model.preset!r} has no pretrained parts here; use nano or model.init "
            "(`instructseg convert base` makes the paper's start)"
        )
    from instructseg.conversion.nano_base import build

    return build(build_config(recipe.model), recipe.seed)


def _go_on(recipe: ModelRecipe) -> tuple[InstructSegModel, InstructSegProcessor]:
    """A saved model with the recipe's changes: weights that still have a place are kept, other parts start anew."""
    folder = find_checkpoint(recipe.init or "")
    processor = InstructSegProcessor.from_pretrained(folder)
    if not recipe.config:
        model = InstructSegModel.from_pretrained(folder)
    else:
        config = _change(InstructSegConfig.from_pretrained(folder).to_dict(), recipe.config)
        try:
            model = InstructSegModel.from_pretrained(folder, config=config)
        except RuntimeError as error:  # sizes that differ
            reason = " ".join(str(error).split())
            raise RecipeError(f"the weights of {recipe.init} do not fit model.config: {reason:.300}") from error
        processor = InstructSegProcessor.for_config(config, processor.tokenizer)
    _start_anew(model, recipe.fresh)
    return model, processor


def _start_anew(model: InstructSegModel, names: Sequence[str]) -> None:
    """Fresh weights for these modules, in place; one that the configuration leaves out is passed over."""
    other = InstructSegModel(model.config) if names else None
    for name in names:
        part = getattr(model, name, "no part")
        if part is not None and not isinstance(part, nn.Module):
            known = ", ".join(child for child, _ in model.named_children())
            raise RecipeError(f"model.fresh names {name!r}; it may name {known}")
        if part is not None:
            part.load_state_dict(getattr(other, name).state_dict())


def build_config(recipe: ModelRecipe) -> InstructSegConfig:
    """The preset with the recipe's changes. Raises RecipeError for fields or values it cannot have."""
    if recipe.preset not in PRESETS:
        raise RecipeError(f"model.preset is {recipe.preset!r}; it is one of {', '.join(PRESETS)}")
    return _change(getattr(presets, recipe.preset)().to_dict(), recipe.config)


def _change(tree: dict[str, Any], changes: dict[str, Any]) -> InstructSegConfig:
    _merge(tree, changes)
    try:
        return InstructSegConfig.from_dict(tree)
    except (StrictDataclassError, ValueError) as error:
        raise RecipeError(f"model.config does not fit the model: {' '.join(str(error).split())}") from error


def _merge(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if key not in tree:
            raise RecipeError(f"model.config.{key} is not a field of the model's configuration")
        if isinstance(value, dict) and isinstance(tree[key], dict):
            _merge(tree[key], value)
        else:
            tree[key] = value
