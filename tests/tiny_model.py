"""The tiny() preset with random weights, a word-level tokenizer that fits it, and small inputs; for many tests."""

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from instructseg.model import configuration
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor, ModelInputs
from instructseg.prompts import SEG_TOKEN
from instructseg.types import Task

WORDS = (
    "USER : . , ? You need to perform Referring Reasoning Expression Video Object Segmentation on the image video "
    "according Text Prompt ASSISTANT A chat between a curious user and an artificial intelligence assistant This is "
    "please doing following instruction Sure segmentation result there are reference frames key frame all dog cat cup "
    "kite clock zebra big small red green blue left right of which one what can fly tell time background"
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Words and punctuation marks as tokens; <unk>, <s>, </s> come first, [SEG] is an added special token."""
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", *WORDS.split()]))}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.add_tokens([SEG_TOKEN, "<|endoftext|>"], special_tokens=True)
    return fast


def config(**changes: object) -> InstructSegConfig:
    """tiny() with fields replaced; a dict for a part changes only the fields it names, None removes the part."""
    tree = configuration.tiny().to_dict()
    for key, value in changes.items():
        tree[key] = {**tree[key], **value} if isinstance(value, dict) else value
    return InstructSegConfig.from_dict(tree)


def build(seed: int = 0, **changes: object) -> tuple[InstructSegModel, InstructSegProcessor]:
    """A model in eval mode whose random weights are large enough for every input to be felt, and its processor."""
    torch.manual_seed(seed)
    chosen = config(**changes)
    model = InstructSegModel(chosen).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():  # zero biases and zero offsets would hide wiring faults
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model, InstructSegProcessor.for_config(chosen, tokenizer())


def photo(height: int = 40, width: int = 56, seed: int = 0) -> np.ndarray:
    """Blocks of random colours, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8).repeat(8, 0).repeat(8, 1)[
        :height, :width
    ]


def inputs(
    processor: InstructSegProcessor, visuals: Sequence[tuple[Sequence[np.ndarray], Sequence[str]]], task: Task = Task.RES
) -> ModelInputs:
    """A batch of (frames, instructions)."""
    return processor([frames for frames, _ in visuals], [texts for _, texts in visuals], [task] * len(visuals))
