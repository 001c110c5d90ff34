"""What a training run is told: one schema, read from YAML, changed by key=value; unknown keys are refused."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from instructseg.errors import RecipeError
from instructseg.model.losses import LossWeights


@dataclass(frozen=True)
class ModelRecipe:
    """`preset`: a preset of `model.configuration` built on pretrained parts; or `init`: a saved model to go on from.

    `config` overrides fields of the preset, nested by part, e.g. {decoder_config: {pixel_layers: 3}}.
    """

    preset: str = "nano"
    init: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LoraRecipe:
    """Low-rank adaptation of the language model; rank 8 on queries and values in the released code."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")


@dataclass(frozen=True)
class DataRecipe:
    """Where photos with instance masks lie and how samples are composed from them.

    `coco`: list of {annotations, images}; `label_maps`: list of {images, masks, names, prefix}. Relative paths are
    relative to `root`. `compose` holds fields of `ComposeConfig`. Photos whose id falls in the validation share
    (`validation_percent`, by a hash of the id) are never trained on.
    """

    root: str = "."
    coco: tuple[dict[str, str], ...] = ()
    label_maps: tuple[dict[str, str], ...] = ()
    validation_percent: int = 20
    compose: dict[str, Any] = field(default_factory=dict)
    workers: int = 1


@dataclass(frozen=True)
class LossRecipe:
    """Weights of the loss parts (Eq. 4) and its point sampling."""

    weights: LossWeights = field(default_factory=LossWeights)
    num_points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75
    score_target: str = "matched"
    mask_stride: int = 1

    def __post_init__(self) -> None:
        if self.mask_stride < 1:
            raise RecipeError(f"loss.mask_stride is {self.mask_stride}; it must be 1 or more")
        if self.score_target not in ("matched", "iou"):
            raise RecipeError(f"loss.score_target is {self.score_target!r}; it must be matched or iou")


@dataclass(frozen=True)
class Recipe:
    """A whole run. Times are in steps of one batch of `batch_photos` photos with all their instructions."""

    output: str = "runs/nano"
    seed: int = 0
    steps: int = 2000
    batch_photos: int = 4
    learning_rate: float = 4e-5
    warmup_steps: int = 100
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    mixed_precision: str = "no"
    threads: int = 0
    checkpoint_minutes: float = 3.0
    validate_every: int = 250
    validation_photos: int = 0
    model: ModelRecipe = field(default_factory=ModelRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)

    def as_yaml(self) -> str:
        return yaml.safe_dump(_plain(asdict(self)), sort_keys=False)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe and apply overrides such as "steps=100" or "data.root=/datasets" (values are YAML).

    Raises RecipeError naming the key for unknown keys and wrong types.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text()) or {}
    except FileNotFoundError:
        raise RecipeError(f"recipe {path} does not exist") from None
    except OSError as error:
        raise RecipeError(f"recipe {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {path} is not valid YAML: {error}") from None
    for override in overrides:
        key, found, value = override.partition("=")
        if not found:
            raise RecipeError(f"{override!r} is not an override; write key=value, e.g. steps=100")
        try:
            _put(tree, key.split("."), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise RecipeError(f"the value of {override!r} is not valid YAML: {error}") from None
    return _build(Recipe, tree, "")


def with_root(recipe: Recipe, root: str) -> Recipe:
    return replace(recipe, data=replace(recipe.data, root=root))


def _put(tree: dict, keys: list[str], value: object) -> None:
    for depth, key in enumerate(keys):
        if not isinstance(tree, dict):
            raise RecipeError(f"cannot set {'.'.join(keys)}: {'.'.join(keys[:depth]) or 'the recipe'} is not a section")
        if depth == len(keys) - 1:
            tree[key] = value
        else:
            tree = tree.setdefault(key, {})


def _build(kind: type, tree: object, where: str) -> Any:
    if not isinstance(tree, Mapping):
        raise RecipeError(f"{where or 'the recipe'} must be a section of keys, got {tree!r}")
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    values = {}
    for key, value in tree.items():
        name = f"{where}{key}"
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise RecipeError(f"unknown key {name}; {hint}")
        values[key] = _value(hints[key], value, name)
    return kind(**values)


def _value(hint: Any, value: object, name: str) -> object:
    if is_dataclass(hint):
        return _build(hint, value, f"{name}.")
    text = str(hint)
    if value is None and "None" in text:
        return None
    if text.startswith("tuple"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise RecipeError(f"{name} must be a list, got {value!r}")
        return tuple(value)
    for allowed, cast in ((bool, bool), (int, int), (float, float), (str, str)):
        if hint is allowed or text == f"{allowed.__name__} | None":
            return _scalar(cast, value, name)
    if not isinstance(value, dict):
        raise RecipeError(f"{name} must be a section, got {value!r}")
    return value


def _scalar(cast: type, value: object, name: str) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if cast is float and (whole or isinstance(value, float)):
        return float(value)  # type: ignore[arg-type]
    if cast is float and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            return float(value)
        except ValueError:
            pass
    if (cast is int and whole) or (cast is not int and isinstance(value, cast)):
        return value
    raise RecipeError(f"{name} must be {cast.__name__}, got {value!r}")


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
