"""Old names in configurations, weights and recipes, mapped to current names: the only such table.

Existing files keep loading; saved files use current names. Every function returns a new object, keeps current names
and is idempotent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Fields of `InstructSegConfig`, as "part.field": config.json and a recipe's `model.config`.
CONFIG_FIELDS = {
    "perceiver_config.locate": "auxiliary_config.localization",
    "decoder_config.text_to_pixel": "auxiliary_config.text_to_pixel",
    "decoder_config.pixel_naming": "auxiliary_config.pixel_classification",
    "decoder_config.deepest_in_masks": "decoder_config.coarsest_in_masks",
}
# Modules of `InstructSegModel`: the beginning of state-dict keys, and a recipe's `model.train` and `model.fresh`.
MODULES = {
    "naming": "pixel_classification_head",
    "perceiver.locator": "perceiver.localization_head",
    "mask_decoder.text_to_pixel": "mask_decoder.text_to_pixel_head.projection",
    "pixel_decoder.deepest_projection": "pixel_decoder.coarsest_projection",
}
# Terms of the loss: fields of `LossWeights` and a recipe's `loss.weights`; a training's log.jsonl.
LOSS_WEIGHTS = {
    "every": "all_queries",
    "naming": "pixel_classification",
    "pixel": "text_to_pixel",
    "references": "localization_head",
    "locate": "localization_head",
}


def modern_config(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration, or changes to one, nested by part, with current names.

    {"perceiver_config": {"depth": 2, "locate": True}} becomes {"perceiver_config": {"depth": 2}, "auxiliary_config":
    {"localization": True}}. Raises ValueError when a field is set under both names.
    """
    renamed = {part: dict(fields) if isinstance(fields, Mapping) else fields for part, fields in tree.items()}
    for old, new in CONFIG_FIELDS.items():
        (old_part, old_field), (new_part, new_field) = old.split("."), new.split(".")
        if not isinstance(renamed.get(old_part), dict) or old_field not in renamed[old_part]:
            continue
        value = renamed[old_part].pop(old_field)
        fields = renamed.get(new_part) or {}
        if new_field in fields:
            raise ValueError(f"expected one of {new} and its old name {old}, got both; remove {old}")
        renamed[new_part] = {**fields, new_field: value}
    return renamed


def modern_key(name: str) -> str:
    """Current name of a module, a parameter or a buffer, e.g. "naming.log_scale"."""
    for old, new in MODULES.items():
        if name == old or name.startswith(f"{old}."):
            return new + name.removeprefix(old)
    return name


def modern_state_dict(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors by name, with current names, in the same order."""
    return {modern_key(name): tensor for name, tensor in tensors.items()}


def modern_loss_weights(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Values by loss term, with current names. Raises ValueError when a term is set under two names."""
    renamed: dict[str, Any] = {}
    for name, value in weights.items():
        new = LOSS_WEIGHTS.get(name, name)
        if new in renamed or (new != name and new in weights):
            raise ValueError(f"expected one name for the loss weight {new}, got two; remove {name}")
        renamed[new] = value
    return renamed


def modern_recipe(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe as read from YAML, with current names in its `model` and `loss` sections.

    Raises ValueError when a key is set under two names.
    """
    renamed = dict(tree)
    model, loss = renamed.get("model"), renamed.get("loss")
    if isinstance(model, Mapping):
        renamed["model"] = model = dict(model)
        if isinstance(model.get("config"), Mapping):
            model["config"] = modern_config(model["config"])
        for key in ("train", "fresh"):
            if isinstance(model.get(key), list | tuple):
                model[key] = [modern_key(name) if isinstance(name, str) else name for name in model[key]]
    if isinstance(loss, Mapping) and isinstance(loss.get("weights"), Mapping):
        renamed["loss"] = {**loss, "weights": modern_loss_weights(loss["weights"])}
    return renamed


def modern_override(override: str) -> str:
    """A change to a recipe on the command line, with its current name: "loss.weights.every=1" becomes
    "loss.weights.all_queries=1"."""
    key, equals, value = override.partition("=")
    for where, table in (("model.config.", CONFIG_FIELDS), ("loss.weights.", LOSS_WEIGHTS)):
        if key.startswith(where):
            key = where + table.get(key.removeprefix(where), key.removeprefix(where))
    return key + equals + value
