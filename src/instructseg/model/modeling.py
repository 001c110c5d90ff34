"""InstructSegModel: the paper's overview (Fig. 2) as one forward made of five stages.

    visual     = encode_image(pixels, clip_pixels)              visual tokens and decoder pyramid, from the images only
    references = perceive(visual, layout, ...)                  OVP tokens of each (frame, instruction)
    hidden     = reason(layout, visual, references)             the language model, once
    text       = fuse(hidden, visual)                           VMTF -> multi-grained text embedding
    heads      = decode(visual, hidden.mask_embeddings, text)   masks and scores

Read this file first; each stage's module is in its own file.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoModel, Cache

from instructseg.model.attention import attend_in_blocks
from instructseg.model.auxiliary_heads import PixelClassificationHead
from instructseg.model.configuration import AuxiliaryHeadsConfig, InstructSegConfig
from instructseg.model.generation import TextGeneration
from instructseg.model.layout import Layout
from instructseg.model.losses import Criterion, text_loss
from instructseg.model.outputs import (
    InstructSegOutput,
    LanguageModelOutput,
    VisualFeatures,
    VisualMemory,
    require,
)
from instructseg.model.perceiver import ObjectAwareVideoPerceiver
from instructseg.model.seeds import InstructionWords, SeedProposer
from instructseg.model.segmentation_decoder import MaskedAttentionDecoder, PixelDecoder, Proposals
from instructseg.model.slots import gather_slots, scatter_slots
from instructseg.model.targets import Targets
from instructseg.model.text_fusion import VisionGuidedMultiGranularityTextFusion, one_embedding, pool_words
from instructseg.model.vision_encoder import BackboneTokens, ClipTokens


class InstructSegModel(TextGeneration):
    """Instructed visual segmentation: images or video frames and instructions in, mask proposals and scores out.

    Axes of all shapes: batch (visuals), instructions (of one visual, padded), time (reference frames), patches (visual
    tokens of a frame), words, queries (mask tokens), dim (width of the language model).
    """

    def __init__(self, config: InstructSegConfig):
        super().__init__(config)
        text, decoder = config.text_config, config.decoder_config
        auxiliary = config.auxiliary_config or AuxiliaryHeadsConfig()
        width = text.hidden_size
        self.language_model = AutoModel.from_config(text)
        attend_in_blocks(self.language_model)
        self.lm_head = nn.Linear(width, config.lm_head_size or text.vocab_size, bias=False)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
        channels = list(self.backbone.channels)
        clip = config.vision_config is not None
        self.vision_tokens = ClipTokens(config) if clip else BackboneTokens(config, channels[-1])
        perceiver = config.perceiver_config
        self.perceiver = perceiver and ObjectAwareVideoPerceiver(perceiver, width, auxiliary.localization)
        fusion = config.text_fusion_config
        self.text_fusion = fusion and VisionGuidedMultiGranularityTextFusion(
            fusion, width, channels[-1], decoder.hidden_size
        )
        self.pooled_text = None if fusion else nn.Linear(width, decoder.hidden_size)
        self.mask_tokens = nn.Parameter(torch.empty(config.num_mask_tokens, width))
        self.query_projection = nn.Linear(width, decoder.hidden_size)
        self.pixel_decoder = PixelDecoder(decoder, channels)
        self.mask_decoder = MaskedAttentionDecoder(
            decoder, config.num_mask_tokens, text_to_pixel=auxiliary.text_to_pixel,
            seeds=config.seed_config is not None, token_reduction=fusion.token_reduction if fusion else "mean",
        )  # fmt: skip
        classify = auxiliary.pixel_classification
        seeds = config.seed_config
        self.seed_proposer = seeds and SeedProposer(seeds, channels, width, decoder.hidden_size)
        self.pixel_classification_head = PixelClassificationHead(decoder.mask_size, width) if classify else None
        self.criterion = Criterion()
        self.post_init()

    @property
    def encoders(self) -> list[nn.Module]:
        """The visual encoders, which the paper freezes (section 3.1)."""
        clip = [self.vision_tokens.encoder] if isinstance(self.vision_tokens, ClipTokens) else []
        return [self.backbone, *clip, *([self.seed_proposer.detector] if self.seed_proposer else [])]

    def train(self, mode: bool = True) -> InstructSegModel:
        """Set the mode, but keep frozen encoders and a frozen seed head in eval mode: no dropout, fixed batch norm."""
        super().train(mode)
        for encoder in [*self.encoders, *([self.seed_proposer.head] if self.seed_proposer else [])]:
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
        reference_times: Tensor | None = None,
    ) -> InstructSegOutput:
        """Segment a batch of visuals, each with its instructions; with `targets`, also compute the loss (Eq. 4).

        Args:
            pixel_values: (batch, 3, height, width), the key frames for the fine-grained encoder. A model without a
                CLIP-type encoder takes every frame here, key frames first.
            layout: positions of the blocks in the sequence, from `build_layout`.
            reference_index: int (batch, time), frames that the perceiver reads for each visual; -1 = none.
            clip_pixel_values: (frames, 3, height, width), every frame for the CLIP-type encoder, key frames first.
            targets: ground truth; None computes no loss.
            generator: source of the loss's random points; None: torch's global generator.
            reference_times: int (batch, time), places in time of the reference frames (`ModelInputs`).
        """
        layout = layout.to(pixel_values.device)  # a BatchFeature moves its tensors only
        targets = targets and targets.to(pixel_values.device)
        visual = self.encode_image(pixel_values, clip_pixel_values, batch=len(reference_index))
        return self.forward_from_features(
            visual, layout, reference_index, targets, generator, reference_times=reference_times
        )

    def forward_from_features(
        self,
        visual: VisualFeatures,
        layout: Layout,
        reference_index: Tensor,
        targets: Targets | None = None,
        generator: torch.Generator | None = None,
        prefix: Cache | None = None,
        reference_times: Tensor | None = None,
    ) -> InstructSegOutput:
        """`forward` for images that are already encoded: the four stages that depend on the instructions."""
        references = self.perceive(visual, layout, reference_index, reference_times)
        hidden = self.reason(layout, visual, references, prefix)
        output, heads, text = self.propose(visual, hidden)
        if targets is not None:
            losses = self.criterion.segmentation(
                heads, targets, layout.expression_mask, generator, output.plural_logits
            )
            losses |= self.auxiliary_losses(visual, text, references, layout, targets, generator)
            losses |= text_loss(hidden.hidden_states, layout.labels, self.lm_head, targets.normalizers)
            output.loss, output.parts = self.criterion.total(losses)
        return output

    def propose(
        self, visual: VisualFeatures, hidden: LanguageModelOutput
    ) -> tuple[InstructSegOutput, list[Proposals], Tensor]:
        """The stages after the language model, `fuse` and `decode`.

        Returns the output with the last head's proposals, the proposals of every head, and E_v as `fuse` returns it.
        """
        text = self.fuse(hidden, visual)
        heads = self.decode(visual, hidden.mask_embeddings, text, hidden.words)
        plural = self.seed_proposer and self.seed_proposer.plural_head(one_embedding(text))[..., 0].float()
        output = InstructSegOutput(
            mask_logits=heads[-1].mask_logits, score_logits=heads[-1].score_logits, plural_logits=plural
        )
        return output, heads, text

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
        tokens, seeds = self.vision_tokens(maps[-1], self.backbone), None
        if self.seed_proposer is not None:
            detections = self.seed_proposer.detect(pixel_values)
            tokens = tokens + self.seed_proposer.evidence(detections, pixel_values.shape[-1])
            seeds = self.seed_proposer.propose(detections, keys, (pixel_values.shape[-2], pixel_values.shape[-1]))
        return VisualFeatures(tokens, keys[-1], self.pixel_decoder(keys), seeds)

    def encode_tokens(self, pixel_values: Tensor | None, clip_pixel_values: Tensor | None = None) -> Tensor:
        """Visual tokens (frames, patches, dim) only, which is all that a conversation or a reference frame needs.

        A model with a CLIP-type encoder reads `clip_pixel_values` only, any other model `pixel_values` only.
        """
        if clip_pixel_values is not None:
            return self.vision_tokens(clip_pixel_values)
        tokens = self.vision_tokens(self.backbone(pixel_values).feature_maps[-1], self.backbone)
        if self.seed_proposer is None or pixel_values is None:
            return tokens
        return tokens + self.seed_proposer.evidence(self.seed_proposer.detect(pixel_values), pixel_values.shape[-1])

    def encode_pyramid(self, pixel_values: Tensor) -> VisualFeatures:
        """The decoder's pyramid of key frames, without visual tokens (`tokens` is None)."""
        maps = tuple(self.backbone(pixel_values).feature_maps)
        return VisualFeatures(None, maps[-1], self.pixel_decoder(maps))

    def remember(self, visual: VisualFeatures) -> VisualFeatures:
        """The features with `memory` set: all that `perceive`, `fuse` and `decode` compute from the images alone.

        Use it for several passes about the same images. Results do not change. The memory takes about as many bytes as
        the pixel decoder's output.
        """
        pixels = require(visual.pixels, "pixels")
        memory = VisualMemory(
            self.perceiver.read(require(visual.tokens, "tokens")) if self.perceiver else (),
            self.text_fusion.read(require(visual.coarsest, "coarsest")) if self.text_fusion else (),
            self.mask_decoder.read(pixels, visual.seeds),
        )
        return replace(visual, memory=memory)

    def perceive(
        self, visual: VisualFeatures, layout: Layout, reference_index: Tensor, reference_times: Tensor | None = None
    ) -> Tensor | None:
        """OVP tokens of each visual's reference frames for each instruction (section 3.2).

        `reference_times` is read with `perceiver_config.frame_time`; None: no frame is before or after the key frame.
        Returns (batch, instructions, time * latents, dim), frames in the given order and padding frames last; None
        without a perceiver.
        """
        if self.perceiver is None:
            return None
        index = reference_index.clamp(min=0)
        words = self.get_input_embeddings()(layout.word_ids)
        if self.perceiver.word_order == "contextual":
            words = self._contextual(words, layout.word_mask)
        if visual.memory is None:
            tokens = self.perceiver(require(visual.tokens, "tokens")[index], words, layout.word_mask)
        else:
            keys = tuple(layer[index] for layer in visual.memory.perceiver)
            tokens = self.perceiver.condense(keys, words, layout.word_mask)
        if reference_times is not None:
            tokens = self.perceiver.with_time(tokens, reference_times[:, None].expand(-1, tokens.shape[1], -1))
        return tokens.flatten(2, 3)

    def _contextual(self, words: Tensor, word_mask: Tensor) -> Tensor:
        """The language model's states of the instructions alone: (batch, instructions, words, dim), and its mask."""
        flat, valid = words.flatten(0, 1), word_mask.flatten(0, 1)
        count, length = valid.shape  # not len(), which makes a varying size a constant when the model is traced
        square = torch.ones(length, length, dtype=torch.bool, device=valid.device)
        allowed = (square.tril() & valid[:, None]) | torch.eye(length, dtype=torch.bool, device=valid.device)
        mask = torch.zeros_like(allowed, dtype=words.dtype).masked_fill(~allowed, torch.finfo(words.dtype).min)
        positions = torch.arange(length, device=valid.device).expand(count, -1)
        states = self.language_model(
            inputs_embeds=flat, attention_mask=mask[:, None], position_ids=positions, use_cache=False
        ).last_hidden_state
        return states.view_as(words)

    def embed(self, layout: Layout, visual: VisualFeatures | None, references: Tensor | None) -> Tensor:
        """The language model's input (batch, length, dim): words, visual, OVP and mask tokens in their slots."""
        words = self.get_input_embeddings()(layout.token_ids)
        blocks = []
        if layout.mask_slots.shape[2]:  # a conversation has none
            blocks.append((layout.mask_slots, self.mask_tokens.expand(*layout.expression_mask.shape, -1, -1)))
        if visual is not None:
            images = require(visual.tokens, "tokens")[: len(words)]
            if self.seed_proposer is not None:
                images = torch.cat([images, self.seed_proposer.tokens(visual.seeds, images)], 1)
            images = images[:, None]
            blocks.append((layout.image_slots, images.expand(-1, layout.image_slots.shape[1], -1, -1)))
        elif layout.image_slots.numel():
            raise ValueError("expected visual tokens for the prompt's image, got None; pass `visual`")
        if references is not None:
            blocks.append((layout.reference_slots, references[:, :, : layout.reference_slots.shape[2]]))
        return scatter_slots(words, blocks)

    def reason(
        self, layout: Layout, visual: VisualFeatures | None, references: Tensor | None, prefix: Cache | None = None
    ) -> LanguageModelOutput:
        """Co-decoding (Eq. 2): one pass of the language model over all blocks.

        With `prefix`, from `read_prefix` for the same visuals and task, only what comes after it is computed. `visual`
        may be None if the layout has no image slots, because a prefix holds the image.
        """
        embeddings = self.embed(layout, visual, references)
        cached = prefix.get_seq_length() if prefix is not None else 0
        allowed = layout.attention_mask()[:, :, cached:]
        mask = torch.zeros_like(allowed, dtype=embeddings.dtype)
        mask = mask.masked_fill(~allowed, torch.finfo(embeddings.dtype).min)
        states = self.language_model(
            inputs_embeds=embeddings[:, cached:], attention_mask=mask, position_ids=layout.positions[:, cached:],
            past_key_values=copy.deepcopy(prefix), use_cache=prefix is not None,
        ).last_hidden_state  # fmt: skip
        states = nn.functional.pad(states, (0, 0, cached, 0))  # slots count from the row's start
        return LanguageModelOutput(
            states, gather_slots(states, layout.mask_slots), gather_slots(states, layout.word_slots), layout.word_mask,
            self.get_input_embeddings()(layout.word_ids) if self.seed_proposer is not None else None,
        )  # fmt: skip

    def fuse(self, hidden: LanguageModelOutput, visual: VisualFeatures) -> Tensor:
        """The multi-grained text embedding E_v (section 3.3): (batch, instructions, decoder hidden_size).

        With `text_fusion_config.output_tokens` "all": (batch, instructions, tokens, decoder hidden_size).
        """
        shape = hidden.word_embeddings.shape[:2]
        words, mask = hidden.word_embeddings.flatten(0, 1), hidden.word_mask.flatten(0, 1)
        if self.text_fusion is not None:
            if visual.memory is None:
                return self.text_fusion(words, mask, require(visual.coarsest, "coarsest")).unflatten(0, shape)
            return self.text_fusion.fuse(words, mask, visual.memory.text_fusion).unflatten(0, shape)
        assert self.pooled_text is not None
        return self.pooled_text(pool_words(words, mask))[:, 0].unflatten(0, shape)

    def decode(
        self, visual: VisualFeatures, mask_embeddings: Tensor, text: Tensor, words: InstructionWords | None = None
    ) -> list[Proposals]:
        """Masks and scores of every supervised head, the final one last (section 3.4, Eq. 3).

        A model with seeds also needs the instructions' `words`. Shapes: mask_embeddings E_m
        (batch, instructions, queries, dim), text E_v as `fuse` returns it.
        """
        queries = self.query_projection(mask_embeddings)
        memory = visual.memory and visual.memory.decoder
        if self.seed_proposer is None:
            return self.mask_decoder(visual.pixels, queries, text, memory=memory)
        seeds = require(visual.seeds, "seeds")
        if words is None:
            raise ValueError("expected the instruction's words for a model with seeds, got None; pass `words`")
        seed_queries = self.seed_proposer.queries(seeds, one_embedding(text), words)
        return self.mask_decoder(visual.pixels, queries, text, seeds, seed_queries, memory)

    def auxiliary_losses(
        self, visual: VisualFeatures, text: Tensor, references: Tensor | None, layout: Layout, targets: Targets,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Unweighted loss of each auxiliary head that the model has and that `targets` has labels for."""
        losses, expression_mask = {}, layout.expression_mask
        features = require(visual.pixels, "pixels").mask_features
        if self.mask_decoder.text_to_pixel_head is not None:
            logits = self.mask_decoder.text_to_pixel_head(features, one_embedding(text))
            losses |= self.criterion.text_to_pixel(logits, targets, expression_mask)
        if self.pixel_classification_head is not None and targets.regions is not None and targets.name_ids is not None:
            words = self.get_input_embeddings()(targets.name_ids.clamp(min=0))
            names = pool_words(words, targets.name_ids >= 0)[:, 0]
            logits, labels = self.pixel_classification_head(
                features, names, targets.regions, targets.names_allowed, generator
            )
            points, known = len(labels) // len(expression_mask), targets.normalizers
            known = known and known.labelled_images * points
            losses |= self.criterion.pixel_classification(logits, labels, known)
        head = self.perceiver and self.perceiver.localization_head
        if head is not None and references is not None and targets.localization is not None:
            tokens = references.unflatten(2, (targets.localization.shape[2], -1))
            losses |= self.criterion.localization(head(tokens), targets, expression_mask)
        return losses


AutoModel.register(InstructSegConfig, InstructSegModel, exist_ok=True)
