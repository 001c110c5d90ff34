"""The recipe of a training run: one schema, read from YAML, with key=value overrides; unknown keys are rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from instructseg.errors import RecipeError
from instructseg.model.legacy_names import modern_override, modern_recipe
from instructseg.model.losses import LossWeights
from instructseg.training.data.user_data import data_section
from instructseg.training.recipe_checks import STRICT, check
from instructseg.training.recipe_files import apply_override, find_recipe, read_yaml

Tracker = Literal[
    "tensorboard", "wandb", "trackio", "comet_ml", "aim", "mlflow", "clearml", "dvclive", "swanlab"
]  # fmt: skip
"""The experiment trackers that accelerate supports."""

MAX_STEPS = 1_000_000_000
"""Upper limit of durations and counts: larger values are mistakes, and overflow in native code."""


@dataclass(frozen=True, config=STRICT)
class ModelRecipe:
    """The model to start from, and which of its parts are trained."""

    preset: Literal["nano", "paper", "tiny"] = "nano"
    """Preset of `model.presets` to build on pretrained parts. Ignored when `init` is set."""
    init: str | None = None
    """Saved model to continue from: a name ("nano"), a folder or a Hugging Face hub id."""
    config: dict[str, Any] = field(default_factory=dict)
    """Changes to the configuration of the preset or of the saved model, nested as in its config.json, e.g.
    {decoder_config: {pixel_layers: 3}}. Weights of a saved model are kept where they fit; others are initialized."""
    detector: str | None = None
    """Folder with nanodet.json and nanodet.bin, the detector's published weights, for a model that gets its
    `seed_config` in this run."""
    fresh: tuple[str, ...] = ()
    """Modules of a saved model to reinitialize, e.g. [perceiver]."""
    dtype: Literal["float32", "mixed", "bfloat16"] = "float32"
    """Number format of the weights in memory, whatever the file holds. "mixed": frozen encoders and language model in
    bfloat16, trained weights and adapters in float32. "bfloat16": all weights, so that small updates are lost."""
    train: tuple[str, ...] = ()
    """Modules trained in full, e.g. [mask_decoder]. Empty: all but encoders and language model (section 3.1)."""
    freeze: tuple[str, ...] = ()
    """Modules, or parts of them, that are not trained although `train` includes them, e.g. [seed_proposer.head]."""
    word_embeddings: Literal["frozen", "seg", "all"] = "frozen"
    """Training of the word embeddings and of the output head: none, the rows of [SEG] alone, or all rows (released)."""


@dataclass(frozen=True, config=STRICT)
class LoraRecipe:
    """Low-rank adaptation of the language model. The released code uses rank 8 on queries and values."""

    rank: int = Field(default=8, ge=1, le=65_536)
    """Rank of the adapters, 1 or more."""
    alpha: int = Field(default=16, ge=1, le=1_000_000)
    """Scale of the adapters: their output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability, 0 to below 1, of dropping an input of an adapter during training."""
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    """Names of the language model's linear layers that get an adapter."""


@dataclass(frozen=True, config=STRICT)
class SourceRecipe:
    """One source of the mixture. Every batch comes from one source."""

    name: str
    """"composed", "composed_clips" or "composed_instances" (composed from the instance masks of the data section), or a
    dataset of `instructseg data list`."""
    split: str = "train"
    """Split of the dataset. "all": data without a published split; its validation share is held out."""
    ratio: float = Field(default=1.0, ge=0)
    """Relative share of the batches, 0 or more; the shares are exact. 0 disables the source."""
    root: str = ""
    """Folder of the dataset, relative to data.root. Empty: data.root itself."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the dataset's reader. Composed sources have one option, a task, e.g. {task: reason_seg}."""


@dataclass(frozen=True, config=STRICT)
class DataRecipe:
    """The location of the data and how samples are made from it. Relative paths are relative to `root`.

    Photos whose id falls in the validation share (by a hash of the id) are never used for training. The same holds for
    the samples of your own data (sources whose split is "all").
    """

    root: str = "."
    """Folder that contains the datasets."""
    coco: tuple[dict[str, str], ...] = ()
    """COCO instance files to compose from: list of {annotations: FILE, images: FOLDER, prefix: TEXT}. Photos of one
    prefix ("coco" by default) share a vocabulary of nouns."""
    label_maps: tuple[dict[str, str], ...] = ()
    """Label maps to compose from: list of {images: FOLDER, masks: FOLDER, names: FILE, prefix: TEXT}."""
    labelme: tuple[dict[str, str], ...] = ()
    """LabelMe folders to compose from: list of {folder: FOLDER, prefix: TEXT}."""
    yolo: tuple[dict[str, str], ...] = ()
    """YOLO-segmentation folders to compose from: list of {folder: FOLDER, prefix: TEXT}."""
    sources: tuple[SourceRecipe, ...] = ()
    """The mixture. Empty: composed photos alone."""
    validation: tuple[SourceRecipe, ...] = ()
    """Sources that are scored in addition to the validation share of the training sources."""
    validation_percent: int = Field(default=20, ge=0, le=100)
    """Percentage of the photos, 0 to 100, held out for validation."""
    compose: dict[str, Any] = field(default_factory=dict)
    """Fields of `synthesis.composer.ComposeConfig`."""
    expressions: int = Field(default=4, ge=1, le=10_000)
    """Maximum number of expressions per sample of a dataset; composed samples follow compose.expressions_per_photo."""
    no_target: bool = True
    """Whether samples of clip datasets include expressions without an object (type 2 of ReVOS), and key frames that do
    not show the target (one in ten samples, and further expressions of any sample). Released code: false."""
    max_tokens: int = Field(default=2048, ge=1, le=1_000_000)
    """Maximum length of a conversation in tokens, image included; later turns are left out."""
    workers: int = Field(default=1, ge=0, le=1024)
    """Number of data-loading processes. 0: load data in the training process."""


@dataclass(frozen=True, config=STRICT)
class LossRecipe:
    """The loss (Eq. 4): weights of its terms, and the points it is computed on."""

    weights: LossWeights = field(default_factory=LossWeights)
    """Weight of each loss term."""
    num_points: int = Field(default=12544, ge=1, le=10_000_000)
    """Points per mask on which mask losses and matching costs are computed (112 x 112 in the released code)."""
    oversample: float = Field(default=3.0, ge=1, le=100)
    """Number of candidate points drawn per point selected by uncertainty, 1 or more."""
    importance: float = Field(default=0.75, ge=0, le=1)
    """Share of the points, 0 to 1, selected by uncertainty; the others are drawn uniformly."""
    score_target: Literal["matched", "iou", "present_iou", "choice"] = "matched"
    """Target of a proposal's score. "matched": 1 if matched to a target (released code). "iou": its IoU with the
    target. "present_iou": mean of that IoU and 1 where there is a target, 0 where there is none. "choice": proposals
    compete with each other and with "none"; target masks are then single objects instead of their union."""
    keep_seed_features: float = Field(default=0.0, ge=0)
    """For `objective: seeds`: weight of the squared difference between the seeds' normalized features and those of the
    initial model, for a model whose other parts already depend on them. 0: they may change freely."""
    text_loss: Literal["none", "reason_seg", "all"] = "none"
    """Segmentation samples whose reply, "Sure, the segmentation result is [SEG]", the language model learns (L_t of
    Eq. 4), in addition to conversations: none, those of ReasonSeg (released code), or all (Eq. 4)."""
    explanation_probability: float = Field(default=0.5, ge=0, le=1)
    """Probability, 0 to 1, that such a reply begins with the sample's explanation, if it has one (released: 0.5)."""
    mask_stride: int = Field(default=1, ge=1, le=1024)
    """Mask targets are averaged over squares of this many input pixels; 1 keeps the input resolution."""


@dataclass(frozen=True, config=STRICT)
class StatesRecipe:
    """The stored states that `objective: choice` learns from; see `training.states`."""

    folder: str = "states"
    """Their folder, relative to `output`. States that are already in it are used unchecked, so choose a new folder for
    another model or other data."""
    samples: int = Field(default=4000, ge=1, le=100_000_000)
    """Number of composed samples, about 4.5 MB each for nano."""
    seeds_only: bool = True
    """Learn to choose among the seeds alone, which is several times faster than with the learned mask tokens."""


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """A training run. Durations are in optimizer steps, one batch each."""

    output: str = "runs/nano"
    """Folder for checkpoints, logs and the trained model. A run started again in the same folder resumes."""
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Seed of weights, data and augmentation."""
    steps: int = Field(default=2000, ge=1)
    """Number of optimizer steps."""
    batch_photos: int = Field(default=4, ge=1, le=1_000_000)
    """Samples per step (photos, clips or conversations) with all their expressions, over all processes together."""
    accumulate: int = Field(default=1, ge=1, le=1_000_000)
    """Micro-batches into which each process splits its share of a batch: less memory, same result."""
    gradient_checkpointing: bool = False
    """Recompute the language model's activations in the backward pass instead of storing them: less memory, slower."""
    learning_rate: float = Field(default=4e-5, ge=0)
    """Peak learning rate of AdamW, after the warm-up and before the cosine decay."""
    warmup_steps: int = Field(default=100, ge=0, le=MAX_STEPS)
    """Steps over which the learning rate rises linearly from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Weight decay of AdamW."""
    clip_norm: float = Field(default=1.0, ge=0)
    """Maximum norm of the gradient; larger ones are scaled down."""
    ema_decay: float = Field(default=0.0, ge=0, le=1)
    """Decay per step, 0 to 1, of the moving average of the weights, which is validated and exported. 0: no average."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Precision of the forward pass; `model.dtype` is that of the weights."""
    threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads of torch. 0: torch's default."""
    checkpoint_minutes: float = Field(default=3.0, ge=0)
    """Minutes between checkpoints. 0: one after every step."""
    validate_every: int = Field(default=250, ge=1, le=MAX_STEPS)
    """Steps between validations; the last step is always validated."""
    validation_photos: int = Field(default=0, ge=0, le=MAX_STEPS)
    """Approximate number of validation samples per source. 0: all."""
    report: tuple[Tracker, ...] = ()
    """Experiment trackers to use besides log.jsonl, e.g. [tensorboard]."""
    objective: Literal["instructions", "seeds", "choice"] = "instructions"
    """"instructions": the paper's losses (Eq. 4). "seeds": train only the mask head of the seed proposals, on every
    labelled object and without the language model. "choice": train text fusion, decoder and seed queries from stored
    states of all other parts, which are frozen."""
    states: StatesRecipe = field(default_factory=StatesRecipe)
    """The stored states of `objective: choice`."""
    model: ModelRecipe = field(default_factory=ModelRecipe)
    """The model to start from."""
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    """Adapters of the language model."""
    data: DataRecipe = field(default_factory=DataRecipe)
    """Training and validation data."""
    loss: LossRecipe = field(default_factory=LossRecipe)
    """The loss."""

    def as_tree(self) -> dict[str, Any]:
        """The resolved recipe, defaults included, as plain dicts and lists."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def as_yaml(self) -> str:
        """The resolved recipe as YAML, which `load_recipe` reads back."""
        return yaml.safe_dump(self.as_tree(), sort_keys=False)


def load_recipe(name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides such as "steps=100" or "data.root=/datasets", whose values are YAML.

    Values of text fields, such as paths, are kept as written: "output=2024-05-01" is a folder, not a date.

    `name` is that of a packaged recipe ("nano") or a path, see `find_recipe`. A path in place of the
    data section, "data=my_coco.json", selects your own data, see `data_section`.
    Raises RecipeError with one line per key that is unknown or has an invalid value.
    """
    tree = _current_names(read_yaml(find_recipe(name), Recipe))
    for override in overrides:
        previous = tree.get("data") if isinstance(tree, dict) else None
        apply_override(tree, modern_override(override), Recipe)
        if isinstance(tree.get("data"), str):
            tree["data"] = data_section(tree["data"], previous)
    return parse_recipe(tree)


def parse_recipe(tree: object) -> Recipe:
    """A plain tree as a recipe; key names of older versions of the package are accepted. Raises RecipeError."""
    return check(Recipe, _current_names(tree))


def _current_names(tree: Any) -> Any:
    """The tree with old key names replaced by current ones. Raises RecipeError if both names of a key are given."""
    try:
        return modern_recipe(tree) if isinstance(tree, dict) else tree
    except ValueError as error:
        raise RecipeError(str(error)) from None


def _plain(value: object) -> object:
    """Tuples as lists, for YAML."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
