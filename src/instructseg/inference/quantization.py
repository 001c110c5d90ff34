"""Weight-only quantization: linear layers hold int8 or int4 weights in memory, which torchao's kernels multiply.

Only the large matrices are quantized: those of the language model and of the CLIP-type encoder. The decoders and the
paper's new modules are not: they take little of the memory, and masks are most sensitive to them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from instructseg.errors import InputError
from instructseg.model.modeling import InstructSegModel
from instructseg.model.vision_encoder import ClipTokens

KINDS = ("int8", "int4")
GROUP = 32
"""Weights of a row that share a scale, for int4."""
INSTALL = 'pip install "instructseg[quantize]"'


def choose_unquantized_dtype(kind: str | None, device: torch.device, dtype: str) -> str:
    """The dtype of the weights that are not quantized, for `choose_dtype`.

    Args:
        kind: "int8", "int4", or None: no weights are quantized.
        device: where the model will run.
        dtype: what the user asked for; with "int4", "auto" becomes "bfloat16", the only dtype that torchao supports.

    Raises InputError for an unknown kind, for a device or dtype that does not go with it, and without torchao.
    """
    if kind is None:
        return dtype
    if kind not in KINDS:
        raise InputError(f"expected quantize to be {' or '.join(map(repr, KINDS))} or None, got {kind!r:.60}")
    _torchao()
    if kind == "int4" and dtype not in ("auto", "bfloat16"):
        raise InputError(f"expected dtype='bfloat16' with quantize='int4', got {dtype!r:.60}; leave dtype='auto'")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"expected device 'cpu' or 'cuda' with quantize, got {device.type!r}; leave quantize out")
    return "bfloat16" if kind == "int4" else dtype


def quantize_weights(model: InstructSegModel, kind: str) -> list[str]:
    """Quantize the linear layers of the language model and of the CLIP-type encoder, in place; returns their names.

    `kind` is "int8" or "int4". Layers whose sides are not multiples of `GROUP` are left as they are. Raises InputError
    if this version of torchao has no kernel for the device.
    """
    parts: dict[str, nn.Module] = {"language_model": model.language_model}
    if isinstance(model.vision_tokens, ClipTokens):
        parts["vision_tokens.encoder"] = model.vision_tokens.encoder
    names = []
    for part, module in parts.items():
        names += [f"{part}.{name}" for name, layer in module.named_modules() if _fits(layer)]
        try:
            with _quiet():
                _torchao().quantize_(module, _settings(kind, model.device), filter_fn=lambda layer, _: _fits(layer))
        except (ImportError, NotImplementedError, AssertionError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"quantize={kind!r} cannot run on {model.device} with this version of torchao: {reason:.200}; "
                "use quantize='int8', or leave quantize out"
            ) from error
    return names


def _fits(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and layer.in_features % GROUP == 0 and layer.out_features % GROUP == 0


def _settings(kind: str, device: torch.device) -> Any:
    """torchao's configuration for a kind of weights on a device."""
    quantization = _torchao()
    if kind == "int8":
        return quantization.Int8WeightOnlyConfig(set_inductor_config=False)
    if device.type == "cpu":  # torch's own kernel; torchao calls its wrapper a prototype
        from torchao.prototype.quantization.int4 import (  # pyright: ignore[reportMissingImports] an extra
            PrototypeInt4WeightOnlyConfig,
        )

        return PrototypeInt4WeightOnlyConfig(group_size=GROUP, set_inductor_config=False)
    return quantization.Int4WeightOnlyConfig(
        group_size=GROUP, int4_packing_format="tile_packed_to_4d", set_inductor_config=False
    )


def _torchao() -> Any:
    """torchao.quantization; raises InputError with the command that installs it."""
    try:
        with _quiet():
            import torchao.quantization as quantization  # pyright: ignore[reportMissingImports] an extra
    except ImportError as error:
        raise InputError(f"quantize needs torchao ({error}); install it: {INSTALL}") from error
    return quantization


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torchao's notes about kernels for other machines."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
