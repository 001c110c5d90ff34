"""A small random nano with seed proposals."""

import torch

from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.presets import nano


def config(**changes: object) -> InstructSegConfig:
    """nano's structure with a small language model, inputs of 64 x 64 pixels and three seeds; with fields replaced."""
    tree = nano().to_dict()
    tree["text_config"] |= {
        "vocab_size": 128, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    }  # fmt: skip
    tree["backbone_config"]["image_size"] = 64
    return InstructSegConfig.from_dict(tree | {"seed_config": {"num_seeds": 3, "num_candidates": 5}} | changes)


def build(seed: int = 0) -> InstructSegModel:
    """In eval mode, without auxiliary heads."""
    torch.manual_seed(seed)
    return InstructSegModel(config(auxiliary_config={})).eval()
