"""The trainable parameters: encoders frozen, LoRA on the language model, all other modules in full (section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from instructseg.errors import RecipeError
from instructseg.model.modeling import InstructSegModel
from instructseg.training.recipe import LoraRecipe
from instructseg.training.token_row import NAME as TOKEN_ROW


def add_lora(model: InstructSegModel, recipe: LoraRecipe) -> None:
    """Add fresh LoRA adapters to the language model, in place."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, target_modules=list(recipe.targets)
    )
    inject_adapter_in_model(config, model.language_model)


def merge_lora(model: InstructSegModel) -> None:
    """Merge the adapters into the weights and remove them, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())


def choose_trainable(
    model: InstructSegModel, train: Sequence[str] = (), freeze: Sequence[str] = (), all_words: bool = False
) -> dict[str, list[str]]:
    """Set requires_grad of every parameter; returns group -> parameter names.

    `train` names the modules (or parameters) that are trained in full; empty: all but encoders and language model.
    `freeze` names modules, or parts of them, to leave out. Both may name optional modules, such as `seed_proposer`,
    that this model does without. `all_words` trains the word embeddings and the output head, as the released training
    does; rows added by `add_token_row` are always trained.
    Raises RecipeError for a name that is not a module of the model or is always frozen, and if nothing of `train` is
    in the model.
    """
    _check_names(model, train, freeze)
    encoders = {id(parameter) for encoder in model.encoders for parameter in encoder.parameters()}
    words = {id(model.get_input_embeddings().get_parameter("weight")), id(model.lm_head.weight)} if all_words else ()
    groups: dict[str, list[str]] = {
        "trained": [], "lora": [], "frozen encoder": [], "frozen language model": [], "frozen by the recipe": [],
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        if id(parameter) in encoders:
            group = "frozen encoder"
        elif id(parameter) in words or name.startswith(f"{TOKEN_ROW}."):
            group = "trained"
        elif name.startswith("language_model.") or name == "lm_head.weight":
            group = "lora" if "lora_" in name else "frozen language model"
        else:
            chosen = not train or name.split(".")[0] in train
            chosen = chosen and not any(name.startswith(f"{part}.") for part in freeze)
            group = "trained" if chosen else "frozen by the recipe"
        parameter.requires_grad_(not group.startswith("frozen"))
        groups[group].append(name)
    return groups


def freeze_all_but_seed_head(model: InstructSegModel) -> dict[str, list[str]]:
    """Set requires_grad for `objective: seeds`, which trains the seeds' mask head; returns group -> parameter names.

    Raises RecipeError for a model without seeds.
    """
    _require_seeds(model)
    groups: dict[str, list[str]] = {"trained": [], "frozen by the recipe": []}
    for name, parameter in model.named_parameters():
        trained = name.startswith("seed_proposer.head.")
        parameter.requires_grad_(trained)
        groups["trained" if trained else "frozen by the recipe"].append(name)
    return groups


STORED = (
    "mask_tokens", "vision_tokens", "perceiver", "pixel_decoder", "seed_proposer.head", "seed_proposer.token_projection"
)  # fmt: skip
"""Modules and parameters whose output is part of the stored states."""


def freeze_all_but_choice(model: InstructSegModel) -> dict[str, list[str]]:
    """Set requires_grad for `objective: choice`; returns group -> parameter names.

    Trained is everything that reads stored states: text fusion, decoder and the seeds' queries. Raises RecipeError for
    a model without seeds.
    """
    _require_seeds(model)
    groups = choose_trainable(model)
    stored = [name for name in groups["trained"] if name.startswith(STORED)]
    for name in stored:
        model.get_parameter(name).requires_grad_(False)
    trained = [name for name in groups["trained"] if name not in stored]
    return groups | {"trained": trained, "frozen by the recipe": groups["frozen by the recipe"] + stored}


def _require_seeds(model: InstructSegModel) -> None:
    if model.seed_proposer is None:
        raise RecipeError("objective: expected a model with seeds, got one without; set model.config.seed_config")


def _check_names(model: InstructSegModel, train: Sequence[str], freeze: Sequence[str]) -> None:
    """Raises RecipeError as `choose_trainable` does."""
    trainable = _trainable_modules(model)
    unknown = [name for name in train if name not in trainable and not _is_left_out(model, name)]
    if unknown:
        raise RecipeError(f"model.train: expected names among {', '.join(trainable)}; got {unknown[0]!r}")
    if train and not {*train} & {*trainable}:
        raise RecipeError(f"model.train: expected names among {', '.join(trainable)}; this model has no {train[0]!r}")
    modules = dict(model.named_modules())
    unknown = [name for name in freeze if name not in modules and not _is_left_out(model, name.split(".")[0])]
    if unknown:
        raise RecipeError(
            f"model.freeze: expected modules of the model, got {unknown[0]!r}; name one of {', '.join(trainable)}, or "
            "a part of one"
        )


def _trainable_modules(model: InstructSegModel) -> list[str]:
    """The top-level modules and parameters other than encoders and language model."""
    names = dict.fromkeys(name.split(".")[0] for name, _ in model.named_parameters())
    return [name for name in names if name not in ("backbone", "language_model", "lm_head", TOKEN_ROW)]


def _is_left_out(model: InstructSegModel, name: str) -> bool:
    """Whether `name` is an optional module that the model's configuration leaves out."""
    return hasattr(model, name) and getattr(model, name) is None


class MovingAverage:
    """Exponential moving average of the trained parameters; `swap` exchanges it with the current values.

    The decay, 0 to 1, grows with the step: min(decay, (1 + step) / (10 + step)), so that the average forgets the
    initial weights.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float):
        self.parameters, self.decay = parameters, decay
        self.shadow = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the current values, after step number `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        # The foreach version is far faster than a loop over lerp_ for many small tensors; torch's stubs omit it.
        parameters = [parameter.detach() for parameter in self.parameters]
        torch._foreach_lerp_(self.shadow, parameters, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average with the current values, in place; a second call undoes the first."""
        for shadow, parameter in zip(self.shadow, self.parameters, strict=True):
            current = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(current)
