"""InstructSegModel: the paper's overview (Fig. 2) as one forward made of five stages.

    visual     = encode_image(pixels, clip_pixels)       visual tokens and decoder pyramid; the image only
    references = perceive(visual, layout, ...)           OVP tokens of each (frame, instruction)
    hidden     = reason(layout, visual, references)      the language model, once
    text       = fuse(hidden, visual)                    VMTF -> class embedding
    output     = decode(visual, hidden.masks, text)      masks and scores

Read this file first; each stage's module is in the file of its name.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoModel, Cache, PreTrainedModel
from transformers.utils import ModelOutput

from instructseg.model.attention import attend_in_blocks
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.layout import PREFIX, Layout
from instructseg.model.losses import Criterion, Targets, text_loss
from instructseg.model.perceiver import ObjectAwareVideoPerceiver
from instructseg.model.segmentation_decoder import MaskedAttentionDecoder, PixelDecoder, PixelFeatures, Proposals
from instructseg.model.storage import load_int8, unread_tensors
from instructseg.model.text_fusion import VisionGuidedMultiGranularityTextFusion, pool_words
from instructseg.model.vision_encoder import BackboneTokens, ClipTokens

# Standard deviation, roughly, of a language model's word embeddings: fresh tokens that enter its sequence start at this
# scale, or they would drown the words beside them (here: the concept words of a visual token).
WORD_SCALE = 0.1
# How much larger than usual the perceiver's queries start.
SHARPER = 2.0


@dataclass(frozen=True)
class VisualFeatures:
    """All that depends on the images alone; sessions keep it.

    tokens (frames, patches, dim): visual tokens of every frame, the batch's key frames first;
    deepest (batch, channels, h, w): the backbone's last map of the key frames, for VMTF;
    pixels: the pixel decoder's output for the key frames. A conversation reads tokens only: the others are None; a
    video frame between two passes of the language model needs no tokens.
    """

    tokens: Tensor | None
    deepest: Tensor | None = None
    pixels: PixelFeatures | None = None


@dataclass(frozen=True)
class Hidden:
    """The language model's hidden states and the two blocks the paper reads from them (E_m and E_d).

    states (batch, length, dim); masks (batch, instructions, mask tokens, dim); words (batch, instructions, words,
    dim) with word_mask bool (batch, instructions, words).
    """

    states: Tensor
    masks: Tensor
    words: Tensor
    word_mask: Tensor


@dataclass
class InstructSegOutput(ModelOutput):
    """loss and its weighted parts (training only), and the last head's proposals, see `Proposals`."""

    loss: Tensor | None = None
    parts: dict[str, Tensor] | None = None
    mask_logits: Tensor | None = None
    score_logits: Tensor | None = None


class PixelNaming(nn.Module):
    """Auxiliary head: name pixels by the similarity of their mask feature with the names' word embeddings."""

    points_per_image = 1024
    # Word embeddings of two nouns have a cosine near 0.4: at a scale of 10 eighty names were hardly told apart.
    first_scale = 30.0

    def __init__(self, mask_size: int, width: int):
        super().__init__()
        self.projection = nn.Linear(mask_size, width)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(
        self, features: Tensor, names: Tensor, targets: Targets, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Logits (points, names) and labels (points,) of random pixels, at the same places in every picture.

        Shapes: features (batch, channels, h, w), names (names, dim), targets.regions int (batch, h, w).
        """
        pixels, labels = features.flatten(2).transpose(1, 2), targets.regions.flatten(1)
        count = min(self.points_per_image, labels.shape[1])
        picked = torch.randint(labels.shape[1], (1, count), generator=generator).to(labels.device)
        picked = picked.expand(len(labels), -1)
        pixels = pixels.gather(1, picked[..., None].expand(-1, -1, pixels.shape[2]))
        pixels = nn.functional.normalize(self.projection(pixels), dim=-1)
        similarity = pixels @ nn.functional.normalize(names, dim=-1).T
        logits = similarity.float() * (self.first_scale * self.log_scale.exp())
        if targets.names_allowed is not None:
            logits = logits.masked_fill(~targets.names_allowed[:, None], torch.finfo(logits.dtype).min)
        return logits.flatten(0, 1), labels.gather(1, picked).flatten()


def gather_slots(states: Tensor, slots: Tensor) -> Tensor:
    """Read slots of each row: (batch, length, dim), int (batch, groups, n) -> (batch, groups, n, dim).

    The dump slot `length` reads zeros.
    """
    padded = nn.functional.pad(states, (0, 0, 0, 1))
    index = slots.flatten(1)[..., None].expand(-1, -1, states.shape[-1])
    return padded.gather(1, index).unflatten(1, slots.shape[1:])


class InstructSegModel(PreTrainedModel):
    """Instructed visual segmentation: images or video frames and instructions in, mask proposals and scores out."""

    config_class = InstructSegConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = [
        "LlamaDecoderLayer", "PhiDecoderLayer", "SiglipEncoderLayer", "SwinStage", "InvertedResidual",
        "DeformableEncoderLayer", "MaskedAttentionLayer", "PerceiverLayer",
    ]  # fmt: skip
    _tied_weights_keys = {"lm_head.weight": "language_model.embed_tokens.weight"}

    def __init__(self, config: InstructSegConfig):
        super().__init__(config)
        text, decoder = config.text_config, config.decoder_config
        width = text.hidden_size
        self.language_model = AutoModel.from_config(text)
        attend_in_blocks(self.language_model)
        self.lm_head = nn.Linear(width, config.lm_head_size or text.vocab_size, bias=False)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
        channels = list(self.backbone.channels)
        if config.vision_config is None:
            self.vision_tokens: nn.Module = BackboneTokens(config, channels[-1])
        else:
            self.vision_tokens = ClipTokens(config)
        self.perceiver = config.perceiver_config and ObjectAwareVideoPerceiver(config.perceiver_config, width)
        self.text_fusion = config.text_fusion_config and VisionGuidedMultiGranularityTextFusion(
            config.text_fusion_config, width, channels[-1], decoder.hidden_size
        )
        self.pooled_text = None if self.text_fusion else nn.Linear(width, decoder.hidden_size)
        self.mask_tokens = nn.Parameter(torch.empty(config.num_mask_tokens, width))
        self.query_projection = nn.Linear(width, decoder.hidden_size)
        self.pixel_decoder = PixelDecoder(decoder, channels)
        self.mask_decoder = MaskedAttentionDecoder(decoder, config.num_mask_tokens)
        self.naming = PixelNaming(decoder.mask_size, width) if decoder.pixel_naming else None
        self.criterion = Criterion()
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fresh weights of our own modules; the parts built by transformers initialise themselves.

        Functions of nn.init leave loaded weights alone here (transformers sees to that), in-place methods would not.
        Modules without parameters of their own are passed over by transformers: their parent sets them up.
        """
        std = self.config.initializer_range
        if isinstance(module, InstructSegModel):
            nn.init.normal_(module.mask_tokens, std=std)
            if isinstance(module.vision_tokens, BackboneTokens):
                nn.init.xavier_uniform_(module.vision_tokens.projector[-1].weight, gain=WORD_SCALE)
                if module.vision_tokens.position is not None:
                    nn.init.xavier_uniform_(module.vision_tokens.position.weight, gain=2 * WORD_SCALE)
        elif isinstance(module, ObjectAwareVideoPerceiver):
            # What is read must outweigh the latents, and be read from few cells: latents of scale 1 that averaged over
            # all cells gave every frame nearly the same tokens, and training learned to do without them.
            nn.init.normal_(module.latents, std=WORD_SCALE)
            for layer in module.layers:
                nn.init.xavier_uniform_(layer.to_q.weight, gain=SHARPER)
            nn.init.constant_(module.norm.weight, WORD_SCALE)
        elif isinstance(module, PixelDecoder):
            nn.init.normal_(module.level_embed)
            for layer in module.layers:
                layer.self_attn.reset_parameters()
        elif isinstance(module, MaskedAttentionDecoder):
            nn.init.normal_(module.query_embed)
            nn.init.normal_(module.level_embed)
            # Scores and masks start near 0, undecided.
            nn.init.xavier_uniform_(module.score_embed[-1].weight, gain=0.1)
            nn.init.xavier_uniform_(module.mask_embed[-1].weight, gain=0.25)
        elif isinstance(module, PixelNaming):
            nn.init.zeros_(module.log_scale)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        else:
            super()._init_weights(module)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *args: object, **kwargs: object) -> InstructSegModel:
        """As in transformers, and also from folders with compact weights (`storage.save_int8`)."""
        folder = Path(str(pretrained_model_name_or_path))
        if (folder / "config.json").is_file() and "state_dict" not in kwargs:
            stored = cls.config_class.from_pretrained(folder)
            if getattr(stored, "weight_storage", None) == "int8":
                config = copy.deepcopy(kwargs.get("config") or stored)
                vars(config).pop("weight_storage", None)  # loaded weights are full, and are saved so
                kwargs |= {"config": config, "state_dict": load_int8(folder)}
                return super().from_pretrained(None, *args, **kwargs)
        return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)

    @staticmethod
    def _load_pretrained_model(
        model: PreTrainedModel, state_dict: dict | None, checkpoint_files: list[str] | None, *args: Any, **kwargs: Any
    ) -> Any:
        """transformers' step from files to weights in place, with files that are read instead of mapped."""
        load = functools.partial(PreTrainedModel._load_pretrained_model, model)
        if state_dict is None and all(str(file).endswith(".safetensors") for file in checkpoint_files or [""]):
            with unread_tensors(checkpoint_files) as tensors:
                return load(tensors, checkpoint_files, *args, **kwargs)
        return load(state_dict, checkpoint_files, *args, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    @property
    def encoders(self) -> list[nn.Module]:
        """The visual encoders, which the paper freezes (section 3.1)."""
        return [self.backbone, *([self.vision_tokens.encoder] if isinstance(self.vision_tokens, ClipTokens) else [])]

    def train(self, mode: bool = True) -> InstructSegModel:
        """As usual, but a frozen encoder stays in eval mode: no drop-path, fixed batch norm."""
        super().train(mode)
        for encoder in self.encoders:
            if not any(parameter.requires_grad for parameter in encoder.parameters()):
                encoder.eval()
        return self

    def forward(
        self,
        pixel_values: Tensor,
        layout: Layout,
        reference_index: Tensor,
        clip_pixel_values: Tensor | None = None,
        targets: Targets | None = None,
        generator: torch.Generator | None = None,
    ) -> InstructSegOutput:
        """Segment a batch of visuals, each with its instructions; with `targets`, also the loss (Eq. 4).

        Args:
            pixel_values: (batch, 3, height, width), the key frames for the fine-grained encoder. A model without a
                CLIP-type encoder takes every frame here, key frames first.
            layout: where the blocks sit, from `build_layout`.
            reference_index: int (batch, T_r), frames the perceiver reads for each visual; -1 = none.
            clip_pixel_values: (frames, 3, h, w), every frame for the CLIP-type encoder, key frames first.
            generator: random points of the loss; None uses torch's global generator.
        """
        visual = self.encode_image(pixel_values, clip_pixel_values, batch=len(reference_index))
        return self.answer(visual, layout, reference_index, targets, generator)

    def answer(
        self,
        visual: VisualFeatures,
        layout: Layout,
        reference_index: Tensor,
        targets: Targets | None = None,
        generator: torch.Generator | None = None,
        prefix: Cache | None = None,
    ) -> InstructSegOutput:
        """`forward` for images that are already encoded: the four stages that read the instructions."""
        references = self.perceive(visual, layout, reference_index)
        hidden = self.reason(layout, visual, references, prefix)
        text = self.fuse(hidden, visual)
        heads = self.decode(visual, hidden.masks, text)
        final = heads[-1]
        output = InstructSegOutput(mask_logits=final.mask_logits, score_logits=final.score_logits)
        if targets is not None:
            spoken = text, references
            output.loss, output.parts = self._loss(visual, hidden, spoken, heads, layout, targets, generator)
        return output

    def encode_image(
        self, pixel_values: Tensor, clip_pixel_values: Tensor | None = None, batch: int | None = None
    ) -> VisualFeatures:
        """Visual tokens of every frame and the decoder's pyramid of the first `batch` (key) frames."""
        batch = len(pixel_values) if batch is None else batch
        if clip_pixel_values is not None:
            pyramid = self.encode_pyramid(pixel_values[:batch])
            return replace(pyramid, tokens=self.encode_tokens(None, clip_pixel_values))
        maps = self.backbone(pixel_values).feature_maps
        keys = tuple(level[:batch] for level in maps)
        return VisualFeatures(self.vision_tokens(maps[-1], self.backbone), keys[-1], self.pixel_decoder(keys))

    def encode_tokens(self, pixel_values: Tensor | None, clip_pixel_values: Tensor | None = None) -> Tensor:
        """Visual tokens (frames, patches, dim) alone, which is all that a conversation or a reference frame needs.

        A model with a CLIP-type encoder reads `clip_pixel_values` only, any other model `pixel_values` only.
        """
        if clip_pixel_values is not None:
            return self.vision_tokens(clip_pixel_values)
        return self.vision_tokens(self.backbone(pixel_values).feature_maps[-1], self.backbone)

    def encode_pyramid(self, pixel_values: Tensor) -> VisualFeatures:
        """The decoder's features of key frames without visual tokens (`tokens` is None)."""
        maps = tuple(self.backbone(pixel_values).feature_maps)
        return VisualFeatures(None, maps[-1], self.pixel_decoder(maps))

    @torch.no_grad()
    def generate_text(
        self, layout: Layout, visual: VisualFeatures | None, max_new_tokens: int = 128, stop: Collection[int] = (),
        use_cache: bool = True, prefix: Cache | None = None,
    ) -> list[int]:  # fmt: skip
        """The likeliest words after a prompt of one row, up to a token of `stop`, which is left out.

        `visual` is None for a prompt without an image. With `use_cache` each step computes the newest word only; with
        `prefix` too, from `read_prefix` for the beginning of the prompt, the first step computes only what follows.
        """
        known = prefix.get_seq_length() if prefix is not None else 0
        given = self.embed(layout, visual, None)[:, known:]
        seen = (layout.segments >= PREFIX).long()
        words: list[int] = []
        cache = copy.deepcopy(prefix)
        while len(words) < max_new_tokens:
            output = self.language_model(
                inputs_embeds=given, attention_mask=seen, past_key_values=cache, use_cache=use_cache
            )
            logits = self.lm_head(output.last_hidden_state[:, -1])[:, : self.config.text_config.vocab_size]
            word = logits.argmax(-1, keepdim=True)
            if int(word) in stop:
                break
            words.append(int(word))
            newest = self.get_input_embeddings()(word)
            given, cache = (newest, output.past_key_values) if use_cache else (torch.cat([given, newest], 1), None)
            seen = torch.cat([seen, torch.ones_like(word)], 1)
        return words

    def perceive(self, visual: VisualFeatures, layout: Layout, reference_index: Tensor) -> Tensor | None:
        """OVP tokens of each visual's reference frames for each instruction (section 3.2).

        Returns (batch, instructions, T_r * latents, dim), frames in the given order and padding frames last; None
        without a perceiver.
        """
        if self.perceiver is None:
            return None
        frames = visual.tokens[reference_index.clamp(min=0)]
        words = self.get_input_embeddings()(layout.word_ids)
        return self.perceiver(frames, words, layout.word_mask).flatten(2, 3)

    def embed(self, layout: Layout, visual: VisualFeatures | None, references: Tensor | None) -> Tensor:
        """The language model's input (batch, length, dim): words, visual, OVP and mask tokens in their places."""
        words = self.get_input_embeddings()(layout.token_ids)
        batch, length, width = words.shape
        blocks = []
        if layout.mask_slots.shape[2]:  # a conversation has none
            blocks.append((layout.mask_slots, self.mask_tokens.expand(*layout.expression_mask.shape, -1, -1)))
        if visual is None and layout.image_slots.numel():
            raise ValueError("the prompt has a place for an image; give its visual tokens")
        if visual is not None:
            images = visual.tokens[:batch, None].expand(-1, layout.image_slots.shape[1], -1, -1)
            blocks.append((layout.image_slots, images))
        if references is not None:
            slots = layout.reference_slots
            blocks.append((slots, references[:, :, : slots.shape[2]]))
        # One more row takes what belongs to padding (slot `length`), so that no branch or sync is needed.
        embeddings = torch.cat([words, words.new_zeros(batch, 1, width)], dim=1)
        for slots, block in blocks:
            index = slots.flatten(1)[..., None].expand(-1, -1, width)
            embeddings = embeddings.scatter(1, index, block.flatten(1, 2).to(embeddings.dtype))
        return embeddings[:, :length]

    def reason(
        self, layout: Layout, visual: VisualFeatures, references: Tensor | None, prefix: Cache | None = None
    ) -> Hidden:
        """Co-decoding (Eq. 2): one pass of the language model over all blocks.

        With `prefix`, from `read_prefix` for the same visuals and task, only what comes after it is computed.
        """
        embeddings = self.embed(layout, visual, references)
        known = prefix.get_seq_length() if prefix is not None else 0
        allowed = layout.attention_mask()[:, :, known:]
        mask = torch.zeros_like(allowed, dtype=embeddings.dtype)
        mask = mask.masked_fill(~allowed, torch.finfo(embeddings.dtype).min)
        states = self.language_model(
            inputs_embeds=embeddings[:, known:], attention_mask=mask, position_ids=layout.positions[:, known:],
            past_key_values=copy.deepcopy(prefix), use_cache=prefix is not None,
        ).last_hidden_state  # fmt: skip
        states = nn.functional.pad(states, (0, 0, known, 0))  # slots count from the row's start
        return Hidden(
            states, gather_slots(states, layout.mask_slots), gather_slots(states, layout.word_slots), layout.word_mask
        )

    def read_prefix(self, layout: Layout, visual: VisualFeatures) -> Cache:
        """Keys and values of the part of the prompt that all instructions about a visual share.

        All rows of the layout must have a prefix of one length, as rows of one task do.
        """
        length = int((layout.segments[0] == PREFIX).sum())
        return self.language_model(
            inputs_embeds=self.embed(layout, visual, None)[:, :length],
            position_ids=layout.positions[:, :length],
            use_cache=True,
        ).past_key_values

    def fuse(self, hidden: Hidden, visual: VisualFeatures) -> Tensor:
        """The multi-grained text embedding E_v (section 3.3): (batch, instructions, decoder width)."""
        shape = hidden.words.shape[:2]
        words, mask = hidden.words.flatten(0, 1), hidden.word_mask.flatten(0, 1)
        if self.text_fusion is None:
            return self.pooled_text(pool_words(words, mask))[:, 0].unflatten(0, shape)
        deepest = visual.deepest.repeat_interleave(shape[1], dim=0)
        return self.text_fusion(words, mask, deepest).unflatten(0, shape)

    def decode(self, visual: VisualFeatures, mask_embeddings: Tensor, text: Tensor) -> list[Proposals]:
        """Masks and scores of every supervised head, the final one last (section 3.4, Eq. 3).

        Shapes: mask_embeddings E_m (batch, instructions, mask tokens, dim), text E_v (batch, instructions, width).
        """
        return self.mask_decoder(visual.pixels, self.query_projection(mask_embeddings), text)

    def _loss(
        self,
        visual: VisualFeatures,
        hidden: Hidden,
        spoken: tuple[Tensor, Tensor | None],
        heads: list[Proposals],
        layout: Layout,
        targets: Targets,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        text, references = spoken
        parts = self.criterion.segmentation(heads, targets, layout.expression_mask, generator)
        if self.mask_decoder.text_to_pixel is not None:
            logits = self.mask_decoder.text_masks(visual.pixels.mask_features, text)
            parts |= self.criterion.text_to_pixel(logits, targets, layout.expression_mask)
        if self.naming is not None and targets.regions is not None:
            words = self.get_input_embeddings()(targets.name_ids.clamp(min=0))
            names = pool_words(words, targets.name_ids >= 0)[:, 0]
            logits, labels = self.naming(visual.pixels.mask_features, names, targets, generator)
            picked = len(labels) // len(layout.expression_mask)
            parts |= self.criterion.naming(logits, labels, targets.counts and targets.counts.labelled_images * picked)
        if references is not None and self.perceiver.locator is not None and targets.located is not None:
            tokens = references.unflatten(2, (targets.located.shape[2], -1))
            parts |= self.criterion.references(self.perceiver.locator(tokens), targets, layout.expression_mask)
        parts |= text_loss(hidden.states, layout.labels, self.lm_head, targets.counts)
        return self.criterion.total(parts)


AutoModel.register(InstructSegConfig, InstructSegModel, exist_ok=True)
