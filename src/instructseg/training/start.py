"""What a run starts from: a model and its processor, saved or built on pretrained parts."""

from __future__ import annotations

from typing import Any

from huggingface_hub.errors import StrictDataclassError

from instructseg.errors import RecipeError
from instructseg.inference.checkpoints import find
from instructseg.model import configuration
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.training.recipe import ModelRecipe, Recipe

PRESETS = ("nano", "paper", "tiny")


def build_model(recipe: Recipe) -> tuple[InstructSegModel, InstructSegProcessor]:
    """The model to start from: a saved one, or a preset on pretrained parts."""
    if recipe.model.init:
        folder = find(recipe.model.init)
        return InstructSegModel.from_pretrained(folder), InstructSegProcessor.from_pretrained(folder)
    if recipe.model.preset != "nano":
        raise RecipeError(
            f"model.preset {recipe.model.preset!r} has no pretrained parts here; use nano or model.init "
            "(`instructseg convert base` makes the paper's start)"
        )
    from instructseg.conversion.nano_base import build

    return build(build_config(recipe.model), recipe.seed)


def build_config(recipe: ModelRecipe) -> InstructSegConfig:
    """The preset with the recipe's changes. Raises RecipeError for fields or values it cannot have."""
    if recipe.preset not in PRESETS:
        raise RecipeError(f"model.preset is {recipe.preset!r}; it is one of {', '.join(PRESETS)}")
    tree = getattr(configuration, recipe.preset)().to_dict()
    _merge(tree, recipe.config)
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
