"""The tiny() preset with random weights, a word-level tokenizer that fits it, and small inputs; for many tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from instructseg.model import presets
from instructseg.model.auxiliary_heads import LocalizationHead
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.inputs import ModelInputs
from instructseg.model.losses import Targets
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.prompts import SEG_TOKEN
from instructseg.types import Task

WORDS = (
    "USER : . , ? You need to perform Referring Reasoning Expression Video Object Segmentation on the image video "
    "according Text Prompt ASSISTANT A chat between a curious user and an artificial intelligence assistant This is "
    "please doing following instruction Sure segmentation result there are reference frames key frame all dog cat cup "
    "kite clock zebra big small red green blue left right of which one what can fly tell time background"
)

# Changes that turn tiny() into a model built like nano(): one encoder, whose classifier names the cells.
LIKE_NANO = {
    "vision_config": None,
    "backbone_config": {"model_type": "efficientnet_lite", "width": 0.25, "depth": 0.5, "image_size": 64},
    "projector": "concept",
    "token_position": True,
    "tie_word_embeddings": True,
}

# Every part switched once: what holds for the model must hold for each.
VARIANTS = {
    "like_nano": LIKE_NANO,
    "no_perceiver": {"perceiver_config": None},
    "no_fusion": {"text_fusion_config": None},
    "global": {"text_fusion_config": {"granularity": "global"}},
    "detailed": {"text_fusion_config": {"granularity": "detailed"}},
    "all_tokens": {"text_fusion_config": {"output_tokens": "all"}},
    "latents_in_keys": {"perceiver_config": {"latents_in_keys": True}},
    "ordered": {
        "perceiver_config": {"word_order": "positions", "frame_time": True},
        "text_fusion_config": {"output_tokens": "all", "token_reduction": "max"},
    },
    "contextual_words": {"perceiver_config": {"word_order": "contextual"}},
    "released_decoder": {"decoder_config": {"fpn_bias_relu": True, "mask_position": False}},
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words and punctuation marks as tokens; <unk>, <s>, </s> come first, [SEG] is an added special token."""
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(["<unk>", "<s>", "</s>", *WORDS.split()]))}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.add_tokens([SEG_TOKEN, "<|endoftext|>"], special_tokens=True)
    return fast


def config(**changes: object) -> InstructSegConfig:
    """tiny() with fields replaced; a dict changes fields of a part, unless it names another model type."""
    tree = presets.tiny().to_dict()
    for key, value in changes.items():
        part = isinstance(value, dict) and "model_type" not in value
        tree[key] = {**tree[key], **value} if part else value
    return InstructSegConfig.from_dict(tree)


def build(seed: int = 0, **changes: object) -> tuple[InstructSegModel, InstructSegProcessor]:
    """A model in eval mode, its random weights large enough for every input to be felt, and its processor."""
    torch.manual_seed(seed)
    chosen = config(**changes)
    model = InstructSegModel(chosen).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():  # biases, offsets and scores start at zero and would hide wiring faults
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        if chosen.projector == "concept":
            model.vision_tokens.class_words.normal_(generator=generator)
    return model, InstructSegProcessor.for_config(chosen, tokenizer())


def saved(folder: Path, **changes: object) -> str:
    """The folder, with a model and its processor written into it; `changes` as of `config`."""
    model, processor = build(**changes)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def photo(height: int = 40, width: int = 56, seed: int = 0) -> np.ndarray:
    """Blocks of random colours, uint8 (height, width, 3)."""
    blocks = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].copy()


def prepare(
    processor: InstructSegProcessor, *visuals: tuple[Sequence[np.ndarray], Sequence[str]], task: Task = Task.RES
) -> ModelInputs:
    """A batch of (frames, instructions)."""
    frames, instructions = zip(*visuals, strict=True)
    return processor(frames, instructions, [task] * len(visuals))


def targets(inputs: ModelInputs, seed: int = 0, share_without: float = 0.0) -> Targets:
    """Random rectangles as targets of every asked instruction, in reference frames too, and two named regions in
    every photo.

    A share `share_without` of the instructions has no target, from the first one on.
    """
    rng = np.random.default_rng(seed)
    side = inputs.pixel_values.shape[-1]
    asked = inputs.layout.expression_mask
    masks = torch.zeros(*asked.shape, 1, side, side, dtype=torch.uint8)
    for row, column in asked.nonzero().tolist():
        top, left = rng.integers(0, side // 2, 2)
        masks[row, column, 0, top : top + side // 2, left : left + side // 3] = 1
    valid = asked[..., None].clone()
    without = asked.nonzero()[: round(share_without * int(asked.sum()))]
    valid[without[:, 0], without[:, 1]] = False
    masks *= valid[..., None, None]
    regions = torch.from_numpy(rng.integers(-1, 2, (len(asked), side // 4, side // 4)))
    regions[regions < 0] = -100
    cells = LocalizationHead.CELLS
    localization = torch.zeros(*asked.shape, inputs.reference_index.shape[1], cells, cells)
    localization[..., 3:7, 2:9] = 1
    localization[(inputs.reference_index < 0)[:, None].expand(localization.shape[:3])] = -1
    names = torch.tensor([[60, -1], [40, 41]]), torch.ones(len(asked), 2).bool()
    return Targets(masks, valid, regions, *names, localization)
