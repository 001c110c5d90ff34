"""Number formats of a run: of the forward pass, and of the weights that the optimizer updates (master weights).

Both are chosen here and nowhere else; a saved model is loaded in float32 first, whatever its files hold.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from instructseg.errors import RecipeError
from instructseg.model.modeling import InstructSegModel


def usable_precision(precision: str) -> str:
    """The precision of the forward pass: "bf16" becomes "no" on a CPU that computes it without vector instructions.

    There, a matrix product takes thirty times as long as in float32 (measured on an AVX2 machine).
    """
    if precision == "bf16" and not torch.cuda.is_available() and not has_fast_bf16():
        warnings.warn("this CPU has no fast bfloat16; training computes in float32", stacklevel=2)
        return "no"
    return precision


def has_fast_bf16() -> bool:
    """Whether oneDNN has bfloat16 kernels for this CPU."""
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def set_weight_format(model: InstructSegModel, dtype: str, precision: str, usable: str) -> None:
    """Convert the weights of a float32 model to the recipe's `model.dtype`, in place, after `choose_trainable`.

    "float32": all. "mixed": frozen encoders and language model in bfloat16, the rest, with all trained weights and
    adapters, in float32. "bfloat16": all weights. Statistics of normalization layers follow their weights.

    Args:
        precision: the recipe's `mixed_precision`.
        usable: the precision of the forward pass on this machine; weights stay float32 if it is not "bf16".

    Raises RecipeError for bfloat16 weights without mixed_precision bf16, which computes with both formats.
    """
    if dtype == "float32":
        return
    if precision != "bf16":
        raise RecipeError(
            f"model.dtype: {dtype} needs mixed_precision bf16, got {precision!r}; set mixed_precision=bf16"
        )
    if usable != "bf16":
        return
    parts = [model] if dtype == "bfloat16" else [*model.encoders, model.language_model, model.lm_head]
    for part in parts:
        for tensor in _stored(part):
            if dtype == "bfloat16" or not tensor.requires_grad:
                tensor.data = tensor.data.to(torch.bfloat16)


def _stored(part: nn.Module) -> Iterator[Tensor]:
    """Floating-point parameters and saved buffers; others, such as rotary frequencies, are computed in float32."""
    saved = part.state_dict().keys()
    yield from part.parameters()
    yield from (buffer for name, buffer in part.named_buffers() if name in saved and buffer.is_floating_point())
