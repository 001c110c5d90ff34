"""InstructSegPreTrainedModel: loading, initialization and embeddings in the form that transformers expects."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY

from instructseg.model.configuration import InstructSegConfig
from instructseg.model.exact_loading import load_exactly
from instructseg.model.initialization import initialize, initialize_tokens
from instructseg.model.legacy_names import modern_state_dict
from instructseg.model.storage import load_int8, open_tensors

EXACT_OPTIONS = {"dtype", "attn_implementation", "output_loading_info", "ignore_mismatched_sizes"}
"""Options of `from_pretrained` that loading without conversions supports."""

LOADED_EXACTLY: dict[str, Any] = {
    "missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": [],
}  # fmt: skip
"""What `output_loading_info` reports when every weight fits."""


class InstructSegPreTrainedModel(PreTrainedModel):
    """Base of `InstructSegModel`: everything that is not a stage of the model."""

    config: InstructSegConfig
    config_class = InstructSegConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = [
        "LlamaDecoderLayer", "PhiDecoderLayer", "SiglipEncoderLayer", "SwinStage", "InvertedResidual",
        "DeformableEncoderLayer", "MaskedAttentionLayer", "PerceiverLayer",
    ]  # fmt: skip
    _tied_weights_keys = {"lm_head.weight": "language_model.embed_tokens.weight"}

    language_model: PreTrainedModel
    lm_head: nn.Linear
    vision_tokens: nn.Module
    mask_tokens: Tensor

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, InstructSegPreTrainedModel):
            initialize_tokens(module.mask_tokens, module.vision_tokens, self.config.initializer_range)
        elif not initialize(module):
            super()._init_weights(module)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path | None, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; also loads compact weights (`storage.save_int8`) and old parameter names."""
        folder = Path(str(pretrained_model_name_or_path))
        if (folder / "config.json").is_file() and "state_dict" not in kwargs:
            stored = InstructSegConfig.from_pretrained(folder)
            if getattr(stored, "weight_storage", None) == "int8":
                config = copy.deepcopy(kwargs.pop("config", None) or stored)
                vars(config).pop("weight_storage", None)  # loaded weights are uncompressed and are saved uncompressed
                return cls._from_compact(folder, config, *args, **kwargs)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @classmethod
    def _from_compact(cls, folder: Path, config: InstructSegConfig, *args: Any, **kwargs: Any) -> Any:
        """A model with compact weights. Weights that fit need no conversion; transformers handles all other cases."""
        tensors = modern_state_dict(load_int8(folder))
        dtype, attention = kwargs.get("dtype", config.dtype), kwargs.get("attn_implementation")
        if not args and kwargs.keys() <= EXACT_OPTIONS and isinstance(dtype, torch.dtype):
            model = load_exactly(cls, copy.deepcopy(config), tensors, dtype, attention)
            if model is not None:
                return (model, LOADED_EXACTLY) if kwargs.get("output_loading_info") else model
        return super().from_pretrained(None, *args, **kwargs | {"config": config, "state_dict": tensors})

    @staticmethod
    def _load_pretrained_model(
        model: PreTrainedModel, state_dict: dict | None, checkpoint_files: list[str] | None, *args: Any, **kwargs: Any
    ) -> Any:
        """Override of transformers' loading step: reads files instead of memory-mapping them, and renames old keys."""
        load = functools.partial(PreTrainedModel._load_pretrained_model, model)
        if state_dict is not None:
            return load(modern_state_dict(state_dict), checkpoint_files, *args, **kwargs)
        if checkpoint_files and all(str(file).endswith(".safetensors") for file in checkpoint_files):
            with open_tensors(checkpoint_files) as tensors:
                return load(modern_state_dict(tensors), checkpoint_files, *args, **kwargs)
        return load(None, checkpoint_files, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Without transformers' hooks, which are local functions: a model that has been used can be pickled."""
        return vars(_without_hooks(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Register the parts as their constructors do: transformers keeps what they can record outside of them."""
        super().__setstate__(state)
        for module in self.modules():
            if isinstance(module, PreTrainedModel):
                _CAN_RECORD_REGISTRY[module] = module._can_record_outputs

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


def _without_hooks(module: nn.Module) -> nn.Module:
    """A copy that shares the tensors; transformers adds its output-capturing hooks again when they are needed."""
    plain = module.__class__.__new__(module.__class__)
    vars(plain).update(vars(module))
    vars(plain).pop("_output_capturing_hooks_installed", None)
    hooks = module._forward_hooks.items()
    plain._forward_hooks = OrderedDict(
        (key, hook) for key, hook in hooks if not hook.__module__.startswith("transformers.")
    )
    plain._modules = {name: child and _without_hooks(child) for name, child in module._modules.items()}
    return plain
