"""InstructSegPreTrainedModel: loading, initialization and embeddings in the form that transformers expects."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY

from instructseg.model.configuration import InstructSegConfig
from instructseg.model.exact_loading import load_exactly
from instructseg.model.initialization import initialize, initialize_tokens
from instructseg.model.legacy_names import modern_state_dict
from instructseg.model.model_card import write_card
from instructseg.model.snapshot import HUB_OPTIONS, local_folder
from instructseg.model.storage import COMPACT, is_scale, load_compact, open_tensors
from instructseg.model.stored_weights import check_keys, check_model_type

EXACT_OPTIONS = {"config", "dtype", "attn_implementation", "output_loading_info", "ignore_mismatched_sizes"}
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
        """As in transformers; also loads compact weights (`storage.save_compact`) and old parameter names.

        A hub id is fetched completely first; `revision`, `cache_dir`, `token`, `local_files_only` and `force_download`
        have their meaning in transformers. Raises CheckpointError when it cannot be fetched, for another model's files,
        and when the stored tensors are not exactly those of the stored configuration. A `config` that differs from the
        stored one is taken as asked for: tensors that do not fit it are reported by transformers' warnings, or by
        `output_loading_info`.
        """
        if pretrained_model_name_or_path is None or "state_dict" in kwargs:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        root = local_folder(pretrained_model_name_or_path, kwargs)
        folder = root / (kwargs.get("subfolder") or "")
        kwargs = {name: value for name, value in kwargs.items() if name not in HUB_OPTIONS}
        stored = _stored_config(folder)
        if stored is not None and getattr(stored, "weight_storage", None) in COMPACT:
            config = copy.deepcopy(kwargs.get("config") or stored)
            vars(config).pop("weight_storage", None)  # loaded weights are uncompressed and are saved uncompressed
            tensors = modern_state_dict(load_compact(folder))
            kwargs.pop("subfolder", None)
            exact = cls._load_exactly(config, tensors, args, kwargs)
            if exact is not None:
                return exact
            kwargs |= {"config": config, "state_dict": tensors}
        report = kwargs.pop("output_loading_info", False)
        source = None if "state_dict" in kwargs else root
        loaded: Any = super().from_pretrained(source, *args, output_loading_info=True, **kwargs)  # makes it a pair
        model, loading_info = loaded
        compact = [key for key in loading_info["unexpected_keys"] if is_scale(key)]
        if compact or (not report and stored is not None and _same(model.config, stored)):
            check_keys(loading_info)  # codes read as if they were floats are never what anybody asked for
        return (model, loading_info) if report else model

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """As in transformers; also writes a model card for the hub, unless the folder has one."""
        super().save_pretrained(save_directory, *args, **kwargs)
        if kwargs.get("is_main_process", True) and Path(save_directory).is_dir():
            write_card(self.config, Path(save_directory))

    @classmethod
    def _load_exactly(
        cls, config: InstructSegConfig, tensors: dict[str, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A model with weights that need no conversion; None: transformers has to load them."""
        dtype, attention = kwargs.get("dtype", config.dtype), kwargs.get("attn_implementation")
        if args or kwargs.keys() - EXACT_OPTIONS or not isinstance(dtype, torch.dtype):
            return None
        model = load_exactly(cls, copy.deepcopy(config), tensors, dtype, attention)
        return (model, LOADED_EXACTLY) if model is not None and kwargs.get("output_loading_info") else model

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


def _stored_config(folder: Path) -> InstructSegConfig | None:
    """The configuration in a folder, None if there is none. Raises CheckpointError for that of another model."""
    if not (folder / "config.json").is_file():
        return None
    check_model_type(folder)
    return InstructSegConfig.from_pretrained(folder)


def _same(config: PreTrainedConfig, stored: InstructSegConfig) -> bool:
    """Whether two configurations describe the same tensors, whatever their number format."""
    return _architecture(config.to_dict()) == _architecture(stored.to_dict())


def _architecture(tree: Any) -> Any:
    ignored = {"_name_or_path", "architectures", "converted_from", "dtype", "transformers_version", "weight_storage"}
    if not isinstance(tree, dict):
        return tree
    return {name: _architecture(value) for name, value in tree.items() if name not in ignored}


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
