"""The models that are measured: the shipped one, and random weights of the paper's size or of a tiny one."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import torch
from transformers import AutoTokenizer

from instructseg.evaluation.provenance import hash_model
from instructseg.inference.arguments import choose_device, choose_dtype
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.inference.loading import silence_transformers
from instructseg.inference.segmenter import Segmenter
from instructseg.model import presets
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor

Scale = Literal["nano", "paper", "tiny"]
SAMPLED = 256
"""Leading values of each tensor that enter the hash of random weights."""


def open_model(
    scale: Scale, device: str = "auto", dtype: str = "auto", seed: int = 0, model: str = "nano", **options: Any
) -> Segmenter:
    """The model to measure.

    Args:
        scale: "nano" loads `model`; "paper" and "tiny" have random weights, drawn from `seed`.
        dtype: "auto" is bfloat16 on a GPU and for the paper's size, else float32.
        options: of `Segmenter.load`.
    """
    if scale == "nano":
        return Segmenter.load(model, device=device, dtype=dtype, **options)
    target = choose_device(device)
    number_format = torch.bfloat16 if dtype == "auto" and scale == "paper" else choose_dtype(dtype, target)
    return random_model(scale, target, number_format, seed)


def random_model(scale: Literal["paper", "tiny"], device: torch.device, dtype: torch.dtype, seed: int = 0) -> Segmenter:
    """Random weights, made where they are used, with nano's tokenizer: the words' number matters, not their ids.

    The same seed gives other weights on another kind of device.
    """
    folder = find_checkpoint("nano")
    with silence_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder)
    config = configuration(scale, len(tokenizer))
    before = torch.get_default_dtype()
    torch.manual_seed(seed)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = InstructSegModel(config)
    finally:
        torch.set_default_dtype(before)
    processor = InstructSegProcessor.for_config(config, tokenizer)
    return Segmenter(model, processor, f"{scale} size, random weights")


def configuration(scale: Literal["paper", "tiny"], words: int) -> InstructSegConfig:
    """A preset; the tiny one with a vocabulary of `words` ids."""
    if scale == "paper":
        return presets.paper()
    tree = presets.tiny().to_dict()
    tree["text_config"]["vocab_size"] = words
    return InstructSegConfig.from_dict(tree)


def describe(segmenter: Segmenter, scale: Scale, seed: int) -> dict[str, Any]:
    """The facts of a result file about the model: its name, size, number format, device, and the weights' hash."""
    model = segmenter.model
    loaded = scale == "nano" and segmenter.name is not None
    return {
        "scale": scale, "model": segmenter.name if not loaded or segmenter.name == "nano" else "MODEL", "seed": seed,
        "weights": hash_model_of(segmenter) if loaded else hash_tensors(model), "parameters": model.num_parameters(),
        "device": str(model.device), "dtype": str(model.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }  # fmt: skip


def hash_model_of(segmenter: Segmenter) -> str:
    from pathlib import Path

    return hash_model(Path(find_checkpoint(segmenter.name or "nano")))


def hash_tensors(model: torch.nn.Module) -> str:
    """Hash, 16 hex digits, of the first values of each tensor: random weights are in no file."""
    digest = hashlib.blake2b(digest_size=8)
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().flatten()[:SAMPLED].float().cpu().numpy().tobytes())
    return digest.hexdigest()
