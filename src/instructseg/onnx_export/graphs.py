"""The model's photo path as three graphs: photo -> features, prompt's beginning -> keys and values, texts -> masks.

    encode  pixels -> features                         once per photo
    prefix  features, prompt -> keys, values           once per photo and task
    answer  features, keys, values, texts -> masks     for each set of texts

Each graph is a module whose forward takes and returns named tensors, made of the stages of `InstructSegModel`. `answer`
lays out its row itself, so that its user needs token ids and no `Layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from instructseg.model.boxes import Boxes
from instructseg.model.layout import PADDING, Block, Layout, PromptSpan, split_prefix
from instructseg.model.modeling import InstructSegModel
from instructseg.model.outputs import VisualFeatures, require
from instructseg.model.seeds import Seeds
from instructseg.model.segmentation_decoder import PixelFeatures

Tensors: TypeAlias = dict[str, Tensor]

LEVELS = ("level_32", "level_16", "level_8")
TOKEN_INPUTS = ("tokens", "seed_boxes", "seed_scores", "seed_valid", "seed_features", "seed_words")
"""Features that the language model's image block is made of."""


@dataclass(frozen=True)
class PromptForm:
    """The order of a prompt's blocks, which is the same for all tasks of photos; texts are numbered from 0."""

    prefix: tuple[str, ...]
    """What comes before everything that depends on the instruction: "text_0", "<image>", ..."""
    rest: tuple[str, ...]

    @classmethod
    def of(cls, spans: Sequence[PromptSpan]) -> PromptForm:
        prefix, _ = split_prefix(spans)
        texts = iter(range(len(spans)))
        names = [f"text_{next(texts)}" if span.block is Block.TEXT else span.block.value for span in spans]
        return cls(tuple(names[: len(prefix)]), tuple(names[len(prefix) :]))

    def texts(self, part: Sequence[str]) -> list[str]:
        """The names of the texts in `prefix` or `rest`."""
        return [name for name in part if name.startswith("text_")]


def flatten(visual: VisualFeatures) -> Tensors:
    """Features of one photo as named tensors; `restore` reverses it."""
    pixels = require(visual.pixels, "pixels")
    named = {
        "tokens": require(visual.tokens, "tokens"), "coarsest": require(visual.coarsest, "coarsest"),
        "mask_features": pixels.mask_features, **dict(zip(LEVELS, pixels.levels, strict=True)),
    }  # fmt: skip
    if visual.seeds is not None:
        seeds, boxes = visual.seeds, visual.seeds.boxes
        named |= {
            "seed_boxes": boxes.boxes, "seed_scores": boxes.scores, "seed_valid": boxes.valid,
            "seed_features": seeds.features, "seed_words": seeds.words, "seed_masks": seeds.mask_logits,
            "seed_probabilities": seeds.probabilities,
        }  # fmt: skip
    return named


def restore(named: Tensors) -> VisualFeatures:
    """The features of `flatten`, or those of them that are there; seeds are without their classes and cells."""
    pixels, seeds = None, None
    if "mask_features" in named:
        pixels = PixelFeatures(named["mask_features"], tuple(named[name] for name in LEVELS))
    if "seed_boxes" in named:
        valid = named["seed_valid"]
        unknown = torch.full_like(valid, -1, dtype=torch.long)
        boxes = Boxes(named["seed_boxes"], named["seed_scores"], unknown, valid, unknown)
        features = named["seed_features"]
        part = lambda name: named.get(name, features)  # noqa: E731  # `prefix` reads neither of the two
        seeds = Seeds(boxes, features, part("seed_masks"), part("seed_probabilities"), named["seed_words"])
    return VisualFeatures(named["tokens"], named.get("coarsest"), pixels, seeds)


class PassedCache(DynamicCache):
    """Keys and values that one pass of the language model may extend: a graph's inputs cannot be copied."""

    def __deepcopy__(self, memo: dict) -> PassedCache:
        return self


class Encode(nn.Module):
    """pixel_values (1, 3, side, side), with a CLIP-type encoder also clip_pixel_values -> the features of `flatten`."""

    def __init__(self, model: InstructSegModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, named: Tensors) -> Tensors:
        return flatten(self.model.encode_image(named["pixel_values"], named.get("clip_pixel_values")))


class Prefix(nn.Module):
    """Texts int64 (tokens,) and `TOKEN_INPUTS` -> keys and values (layers, heads, length, head dim) of the prefix."""

    def __init__(self, model: InstructSegModel, form: PromptForm) -> None:
        super().__init__()
        self.model, self.form = model, form

    def forward(self, named: Tensors) -> Tensors:
        words = self.model.get_input_embeddings()
        blocks = [words(named[name]) if name in named else self._image(named) for name in self.form.prefix]
        embeddings = torch.cat(blocks)[None]
        length = embeddings.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=embeddings.device).tril()
        mask = torch.zeros_like(causal, dtype=embeddings.dtype)
        mask = mask.masked_fill(~causal, torch.finfo(embeddings.dtype).min)[None, None]
        cache = DynamicCache()
        self.model.language_model(
            inputs_embeds=embeddings, attention_mask=mask, past_key_values=cache, use_cache=True,
            position_ids=torch.arange(length, device=embeddings.device)[None],
        )  # fmt: skip
        keys, values = ([getattr(layer, name) for layer in cache.layers] for name in ("keys", "values"))
        return {"keys": torch.cat(keys), "values": torch.cat(values)}

    def _image(self, named: Tensors) -> Tensor:
        visual = restore(named)
        images = require(visual.tokens, "tokens")
        if self.model.seed_proposer is not None:
            images = torch.cat([images, self.model.seed_proposer.tokens(visual.seeds, images)], 1)
        return images[0]


class Answer(nn.Module):
    """The features, keys and values, the other texts of the prompt, and words int64 (texts, words), -1 = padding.

    -> mask_logits (texts, proposals, height / 4, width / 4), score_logits (texts, proposals), and for a model with
    seeds plural_logits (texts,). All texts share one row of the language model, as in `ImageSession`.
    """

    def __init__(self, model: InstructSegModel, form: PromptForm, image_tokens: int, frame_tokens: int) -> None:
        super().__init__()
        self.model, self.form = model, form
        masks = model.config.num_mask_tokens
        self.lengths = {Block.IMAGE.value: image_tokens, Block.REFERENCES.value: frame_tokens, Block.MASKS.value: masks}

    def forward(self, named: Tensors) -> Tensors:
        model, visual = self.model, restore(named)
        cache = PassedCache()
        for index, (keys, values) in enumerate(zip(named["keys"], named["values"], strict=True)):
            cache.update(keys[None], values[None], index)
        layout = self.layout(named, named["keys"].shape[2])
        references = model.perceive(visual, layout, layout.token_ids.new_zeros(1, 1))
        image_follows = Block.IMAGE.value in self.form.rest
        hidden = model.reason(layout, visual if image_follows else None, references, cache)
        output, _, _ = model.propose(visual, hidden)
        results = {"mask_logits": output.mask_logits, "score_logits": output.score_logits}
        results |= {} if output.plural_logits is None else {"plural_logits": output.plural_logits}
        return {name: tensor[0] for name, tensor in results.items() if tensor is not None}

    def layout(self, named: Tensors, start: int) -> Layout:
        """The row of all texts behind a prefix of `start` tokens; each text's segment has the length of the longest."""
        words = named["words"]
        count, asked = words.shape[0], words >= 0  # len() would make the number of texts a constant
        ids, valid, slots = [], [], {}
        length = 0
        for name in self.form.rest:
            if name == Block.INSTRUCTION.value:
                span, used = words.clamp(min=0), asked
            else:
                span = named[name] if name in named else words.new_zeros(self.lengths[name])
                span, used = span.expand(count, -1), torch.ones_like(span, dtype=torch.bool).expand(count, -1)
            slots[name] = torch.arange(span.shape[1], device=words.device) + length
            ids.append(span)
            valid.append(used)
            length = length + span.shape[1]
        used, segments = torch.cat(valid, 1), torch.arange(count, device=words.device)
        first = start + length * segments[:, None]
        end = start + length * count
        slot = lambda name: (first + slots[name])[None]  # noqa: E731
        none = words.new_zeros(1, 0, 0)
        before = torch.arange(start, device=words.device)
        row = lambda part, head: torch.cat([head, part.flatten()])[None]  # noqa: E731
        token_ids = row(torch.cat(ids, 1), torch.zeros_like(before))
        return Layout(
            token_ids=token_ids,
            segments=row(torch.where(used, segments[:, None] + 1, PADDING), torch.zeros_like(before)),
            positions=row((start - 1 + used.long().cumsum(1)).clamp(min=0), before),
            labels=token_ids,
            image_slots=slot(Block.IMAGE.value) if Block.IMAGE.value in slots else none,
            reference_slots=slot(Block.REFERENCES.value) if Block.REFERENCES.value in slots else none,
            word_ids=words.clamp(min=0)[None],
            word_slots=torch.where(asked, first + slots[Block.INSTRUCTION.value], end)[None],
            word_mask=asked[None],
            mask_slots=slot(Block.MASKS.value),
            expression_mask=torch.ones_like(segments, dtype=torch.bool)[None],
            prefix_length=start,
        )
