"""The initial values of tensors that no source fills, and the shapes of a model's state dict."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from instructseg.conversion.rename import Shape
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel


def shapes_of(config: InstructSegConfig) -> dict[str, Shape]:
    """The shapes of a model's state dict, without allocating its weights; tied weights are left out."""
    with torch.device("meta"):
        model = InstructSegModel(config)
    tied = set(model.all_tied_weights_keys) if config.tie_word_embeddings else set()
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name not in tied}


def fresh_tensors(config: InstructSegConfig, names: Mapping[str, str], seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Initial values of the tensors `names`, from a model whose other modules are tiny (see `_skeleton`)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = InstructSegModel(_skeleton(config, names)).state_dict()
    yield from ((name, state[name]) for name in names)


def _skeleton(config: InstructSegConfig, names: Iterable[str]) -> InstructSegConfig:
    """`config` with a single layer and a tiny vocabulary in the modules that contain none of `names`."""
    small = copy.deepcopy(config)
    text = small.text_config
    text.num_hidden_layers, text.vocab_size, small.lm_head_size = 1, 8, 8
    text.pad_token_id = text.bos_token_id = text.eos_token_id = None
    if small.vision_config is not None:
        small.vision_config.num_hidden_layers = 1
    small.backbone_config.depths = [1] * len(small.backbone_config.depths)
    small.decoder_config.pixel_layers = small.decoder_config.decoder_layers = 1
    for part, sizes in (("perceiver.", small.perceiver_config), ("text_fusion.", small.text_fusion_config)):
        if sizes is not None and not any(name.startswith(part) for name in names):
            sizes.depth = 1
    return small
