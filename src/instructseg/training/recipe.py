"""What a training run is told: one schema, read from YAML, changed by key=value; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from instructseg.errors import RecipeError
from instructseg.model.legacy_names import modern_override, modern_recipe
from instructseg.model.losses import LossWeights
from instructseg.training.data.own_data import section_of
from instructseg.training.schema import build, plain, put

TRACKERS = ("tensorboard", "trackio")
SCORE_TARGETS = ("matched", "iou", "present_iou")
PRECISIONS = ("no", "bf16", "fp16")


@dataclass(frozen=True)
class ModelRecipe:
    """`preset`: a preset of `model.configuration` built on pretrained parts; or `init`: a saved model to go on from.

    `init` is a name ("nano"), a folder or a hub id. `config` overrides fields of the preset, nested by part, e.g.
    {decoder_config: {pixel_layers: 3}}, or of the saved model, whose weights are then kept where they fit; modules it
    does not have start anew, and so do those named by `fresh`, e.g. [perceiver]. `train`: modules of the model that
    train in full, e.g. [mask_decoder]; empty: all but the encoders and the language model (section 3.1).
    """

    preset: str = "nano"
    init: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    train: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoraRecipe:
    """Low-rank adaptation of the language model; rank 8 on queries and values in the released code."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")


@dataclass(frozen=True)
class SourceRecipe:
    """One source of the mixture; every batch comes from one source, which gets its `ratio` of all batches exactly.

    `name`: "composed" (photos composed from the instance masks of the data section), "composed_clips" (both may be
    held to one task by the option `task`, e.g. {task: reason_seg}), or a dataset of
    `instructseg data list` with its `split`, the `root` it lies below (default: that of the data section) and the
    `options` of its reader. A ratio of 0 leaves the source out.
    """

    name: str
    split: str = "train"
    ratio: float = 1.0
    root: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ratio < 0:
            raise RecipeError(f"the ratio of source {self.name} is {self.ratio}; it must be 0 or more")


@dataclass(frozen=True)
class DataRecipe:
    """Where the data lies and how samples are made from it.

    Photos with instance masks to compose from: `coco`, list of {annotations, images}; `label_maps`, list of {images,
    masks, names, prefix}; `labelme`, list of {folder, prefix}. Relative paths are relative to `root`. `compose` holds
    fields of `ComposeConfig`. `sources` is the mixture; empty: composed photos alone. `validation` lists sources whose
    first samples are scored beside the composed validation photos.
    Photos whose id falls in the validation share (`validation_percent`, by a hash of the id) are never trained on, and
    likewise the samples of your own data (sources whose split is "all").
    `expressions`: at most so many of a sample of a source that is not composed. `max_tokens`: of a conversation, whose
    later turns are left out.
    """

    root: str = "."
    coco: tuple[dict[str, str], ...] = ()
    label_maps: tuple[dict[str, str], ...] = ()
    labelme: tuple[dict[str, str], ...] = ()
    sources: tuple[SourceRecipe, ...] = ()
    validation: tuple[SourceRecipe, ...] = ()
    validation_percent: int = 20
    compose: dict[str, Any] = field(default_factory=dict)
    expressions: int = 4
    max_tokens: int = 2048
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
        if self.score_target not in SCORE_TARGETS:
            wanted = ", ".join(SCORE_TARGETS)
            raise RecipeError(f"loss.score_target is {self.score_target!r}; it is one of {wanted}")


@dataclass(frozen=True)
class Recipe:
    """A whole run. Times are in steps of one batch of `batch_photos` samples with all their instructions.

    The batch is shared by all processes, and each computes its part in `accumulate` pieces: neither changes what is
    learned, only the memory and time it takes; nor does `gradient_checkpointing`, which computes the language model's
    activations a second time instead of keeping them. `report` names trackers besides log.jsonl: tensorboard, trackio.
    """

    output: str = "runs/nano"
    seed: int = 0
    steps: int = 2000
    batch_photos: int = 4
    accumulate: int = 1
    gradient_checkpointing: bool = False
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
    report: tuple[str, ...] = ()
    model: ModelRecipe = field(default_factory=ModelRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)

    def __post_init__(self) -> None:
        for name in ("steps", "batch_photos", "accumulate", "validate_every"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.mixed_precision not in PRECISIONS:
            raise RecipeError(f"mixed_precision is {self.mixed_precision!r}; it is one of {', '.join(PRECISIONS)}")
        for name in self.report:
            if name not in TRACKERS:
                raise RecipeError(f"report names {name!r}; it may name {', '.join(TRACKERS)}")

    def as_tree(self) -> dict[str, Any]:
        return plain(asdict(self))  # type: ignore[return-value]

    def as_yaml(self) -> str:
        return yaml.safe_dump(self.as_tree(), sort_keys=False)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe and apply overrides such as "steps=100" or "data.root=/datasets" (values are YAML).

    A path as the whole data section, "data=my_coco.json", means your own data: see `own_data`.
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
    tree = _with_todays_names(tree)
    for override in overrides:
        before = tree.get("data") if isinstance(tree, dict) else None
        put(tree, modern_override(override))
        if isinstance(tree.get("data"), str):
            tree["data"] = section_of(tree["data"], before)
    return build(Recipe, _with_todays_names(tree))


def _with_todays_names(tree: Any) -> Any:
    try:
        return modern_recipe(tree) if isinstance(tree, dict) else tree
    except ValueError as error:
        raise RecipeError(str(error)) from None
