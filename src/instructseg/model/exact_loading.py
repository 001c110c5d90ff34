"""Load weights that fit a configuration exactly, in a fifth of the time that transformers takes.

`PreTrainedModel.from_pretrained` compiles a regular expression per tensor, to rename, merge and split the weights of
every architecture. Weights in this package's own format need none of this.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, initialization

from instructseg.model.configuration import InstructSegConfig


def load_exactly(
    model_class: type[PreTrainedModel],
    config: InstructSegConfig,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype,
    attention: str | None = None,
) -> PreTrainedModel | None:
    """The model with `tensors` as its weights, as `from_pretrained` returns it, in eval mode on the CPU.

    Args:
        model_class: `InstructSegModel`.
        config: the model's configuration; it is changed as `from_pretrained` changes its own copy.
        tensors: the state dict. Floating-point tensors are converted to `dtype` and not copied if they have it.
        dtype: dtype of the parameters and buffers.
        attention: attention implementation of transformers; None for its default.

    Returns None for a model with a CLIP-type encoder, whose names transformers changes on loading and back on saving,
    if names or shapes differ from the configuration's, or if some parts have a dtype of their own; `from_pretrained`
    handles these cases.
    """
    if config.vision_config is not None:
        return None
    options = {} if attention is None else {"attn_implementation": attention}
    with initialization.no_init_weights():  # on the CPU: memory that is never written is never used
        model = model_class._from_config(config, dtype=dtype, **options)
    if any(_keeps_float32(module) for module in model.modules()) or not _fit(model, tensors):
        return None
    converted = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    model.load_state_dict(converted, strict=False, assign=True)
    model.tie_weights()
    return model.eval()


def _keeps_float32(module: nn.Module) -> bool:
    names = ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict")
    return isinstance(module, PreTrainedModel) and any(getattr(module, name, None) for name in names)


def _fit(model: PreTrainedModel, tensors: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are exactly the model's, except that tied weights may be missing."""
    expected = model.state_dict()
    tied = set(model.all_tied_weights_keys)
    return tensors.keys() - tied == expected.keys() - tied and all(
        tensor.shape == expected[name].shape for name, tensor in tensors.items()
    )
