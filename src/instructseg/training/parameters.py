"""Which parameters train: encoders frozen, LoRA on the language model, everything else in full (section 3.1)."""

from __future__ import annotations

import torch
from torch import nn

from instructseg.model.modeling import InstructSegModel
from instructseg.training.recipe import LoraRecipe


def add_lora(model: InstructSegModel, recipe: LoraRecipe) -> None:
    """Put fresh adapters on the language model, in place."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=recipe.dropout, target_modules=list(recipe.targets)
    )
    inject_adapter_in_model(config, model.language_model)


def merge_lora(model: InstructSegModel) -> None:
    """Fold the adapters into the weights and take them out, in place."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.language_model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(model.language_model.get_submodule(parent), child, module.get_base_layer())


def choose_trainable(model: InstructSegModel) -> dict[str, list[str]]:
    """Set requires_grad everywhere and say why: group -> parameter names.

    Word embeddings and the output head stay frozen too, unlike in the released training.
    """
    encoders = {id(parameter) for encoder in model.encoders for parameter in encoder.parameters()}
    groups: dict[str, list[str]] = {"trained": [], "lora": [], "frozen encoder": [], "frozen language model": []}
    for name, parameter in model.named_parameters():
        if id(parameter) in encoders:
            group = "frozen encoder"
        elif name.startswith("language_model.") or name == "lm_head.weight":
            group = "lora" if "lora_" in name else "frozen language model"
        else:
            group = "trained"
        parameter.requires_grad_(not group.startswith("frozen"))
        groups[group].append(name)
    return groups


class MovingAverage:
    """Exponential moving average of the trained parameters; `swap` exchanges it with the live ones.

    The decay grows with the step, min(decay, (1 + step) / (10 + step)), so that early averages forget the start.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float):
        self.parameters, self.decay = parameters, decay
        self.shadow = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [parameter.detach() for parameter in self.parameters], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        for shadow, parameter in zip(self.shadow, self.parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(kept)
