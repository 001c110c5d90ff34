"""InstructSegProcessor: turns photos and instructions into model inputs, and proposals into masks of the photo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from torch import Tensor
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from instructseg.errors import CheckpointError, InputError
from instructseg.model import transformers_style
from instructseg.model.checks import check_batch, check_frame, check_instructions, check_limits, check_task
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.image_processing import Geometry, InstructSegImageProcessor
from instructseg.model.inputs import ImageInputs, ModelInputs
from instructseg.model.layout import Layout, TokenCounts, build_layout, pad_rows
from instructseg.model.outputs import InstructSegOutput
from instructseg.model.prompt_builder import PromptBuilder
from instructseg.model.proposals import score_proposals, select_proposals
from instructseg.model.tokenizer_files import read_added_tokens
from instructseg.types import Task

PLURAL_SCORE = 0.5
"""Minimum score of each mask of a plural answer."""


Replies: TypeAlias = Sequence[Sequence[str | None]]
"""The assistant's labelled replies: one per instruction of each visual."""


class InstructSegProcessor(ProcessorMixin):
    """Prepare frames and instructions for the model, and map its masks back to the frames.

    The options must match the model: build a processor with `for_config`, or load the one saved with the weights.

    Attributes:
        prompts: the `PromptBuilder` of the model's prompt set and block order.

    Raises CheckpointError when the tokenizer has no [SEG] token.
    """

    def __init__(
        self,
        image_processor: InstructSegImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        image_tokens: int = 729,
        frame_tokens: int = 128,
        mask_tokens: int = 100,
        block_order: str = "image_first",
        prompt_set: str = "paper",
        **kwargs: Any,
    ) -> None:
        """
        Args:
            image_tokens: number of visual tokens of an image, plus the number of its seeds.
            frame_tokens: number of OVP tokens of one reference frame; 0 for a model without a perceiver.
            mask_tokens: number of mask tokens (and mask proposals) per instruction.
            block_order: "image_first" or "released" (references first).
            prompt_set: "paper" (Table 10) or "released".
        """
        self.image_tokens, self.frame_tokens, self.mask_tokens = image_tokens, frame_tokens, mask_tokens
        self.block_order, self.prompt_set = block_order, prompt_set
        super().__init__(image_processor, tokenizer, **kwargs)
        self.prompts = PromptBuilder(tokenizer, prompt_set, block_order, with_references=frame_tokens > 0)

    @classmethod
    def for_config(
        cls, config: InstructSegConfig, tokenizer: PreTrainedTokenizerBase, **image_options: Any
    ) -> InstructSegProcessor:
        """The processor of a model; `image_options` override arguments of `InstructSegImageProcessor`."""
        side, clip_side = config.backbone_config.image_size, config.vision_config and config.vision_config.image_size
        if config.backbone_config.model_type == "efficientnet_lite":
            image_options = {"resize": "stretch", "mean": (127.0,) * 3, "std": (128.0,) * 3} | image_options
        images = InstructSegImageProcessor(side=side, clip_side=clip_side, **image_options)
        return cls(images, tokenizer, **_options_of(config, side))

    def __repr__(self) -> str:  # transformers' prints the whole tokenizer, and logs it on loading
        counts = ", ".join(f"{name}={getattr(self, name)}" for name in ("image_tokens", "frame_tokens", "mask_tokens"))
        return f"InstructSegProcessor({counts}, block_order={self.block_order!r}, prompt_set={self.prompt_set!r})"

    @classmethod
    def _load_tokenizer_from_pretrained(
        cls, sub_processor_type: str, pretrained_model_name_or_path: str | os.PathLike, subfolder: str = "",
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        """As in transformers, which parses the whole tokenizer.json to find its added tokens."""
        added = None if subfolder else read_added_tokens(Path(pretrained_model_name_or_path))
        if added is not None:
            kwargs["added_tokens_decoder"] = added
        return super()._load_tokenizer_from_pretrained(
            sub_processor_type, pretrained_model_name_or_path, subfolder=subfolder, **kwargs
        )

    def check_fits(self, config: InstructSegConfig) -> None:
        """Raises CheckpointError that lists every option that does not match the model."""
        expected = _options_of(config, self.image_processor.side)
        actual = {name: getattr(self, name) for name in expected}
        expected["clip_side"] = config.vision_config and config.vision_config.image_size
        actual["clip_side"] = self.image_processor.clip_side
        problems = [
            f"expected {name} {expected[name]}, got {actual[name]!s:.60}"
            for name in expected
            if type(actual[name]) is not type(expected[name]) or actual[name] != expected[name]  # 144.0 is wrong
        ]
        if len(self.tokenizer) > config.text_config.vocab_size:
            problems.append(f"expected at most {config.text_config.vocab_size} tokens, got {len(self.tokenizer)}")
        if problems:
            raise CheckpointError(
                f"the processor does not fit the model: {'; '.join(problems)}; use the one saved with the weights"
            )

    @property
    def token_counts(self) -> TokenCounts:
        """Lengths of the blocks without token ids, for `build_layout`."""
        return TokenCounts(self.image_tokens, self.frame_tokens, self.mask_tokens)

    @overload
    def __call__(
        self, frames: Sequence[Sequence[np.ndarray]], instructions: Sequence[Sequence[str]], tasks: Sequence[Task],
        keys: Sequence[int] | None = None, replies: Replies | None = None,
    ) -> ModelInputs: ...  # fmt: skip
    @overload
    def __call__(
        self, *, images: Any, text: Any, task: Task | str | None = None, return_tensors: str | None = "pt"
    ) -> BatchFeature: ...
    # transformers' signature is one of keyword-only modalities; a batch of visuals does not fit it.
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        frames: Sequence[Sequence[np.ndarray]] | None = None,
        instructions: Sequence[Sequence[str]] | None = None,
        tasks: Sequence[Task] | None = None,
        keys: Sequence[int] | None = None,
        replies: Replies | None = None,
        *,
        images: Any = None,
        text: Any = None,
        task: Task | str | None = None,
        return_tensors: str | None = "pt",
    ) -> Any:
        """Prepare a batch: of visuals and their instructions, or in transformers' manner of `images` and `text`.

        Args:
            frames: frames of each visual, RGB uint8 (height, width, 3). A photo is one frame and its own reference
                (section 3.2); the references of a video are all its frames but the key frame.
            instructions: of each visual, all of one task.
            tasks: task of each visual.
            keys: index of each visual's key frame; default: the first frame.
            replies: what the text loss labels, see `layout`; None: nothing.
            images: a PIL image, an array or a tensor (channels first or last; uint8, or float in 0..1), or a list of
                them, each with one text or a list of texts.
            text: for one image a text or a list of texts; for a list of images one text for all, or a list with a text,
                or a list of texts, for each.
            task: task of all texts; None: "res" for descriptions and "reason_seg" for questions.
            return_tensors: "pt" only.

        Returns `ModelInputs`, or for `images` a BatchFeature with the keyword arguments of the model's forward:
        `model(**processor(images=photo, text="the dog", return_tensors="pt"))`.

        Raises InputError for invalid frames or tasks, mismatched counts, and for an instruction that is empty
        or longer than 512 tokens.
        """
        if images is not None or text is not None:
            if images is None or text is None or frames is not None:
                raise InputError(
                    "expected images and text together, and no frames, got only some; pass images= and text="
                )
            return transformers_style.prepare_batch(self, images, text, task, return_tensors)
        if frames is None or instructions is None or tasks is None:
            raise InputError("expected frames, instructions and tasks, got only some; or pass images= and text=")
        keys = [0] * len(frames) if keys is None else keys
        check_batch(frames, instructions, tasks, keys)
        images, references, times = _list_frames(frames, keys)
        pixel_values, clip_pixel_values = self._prepare_frames(images, len(frames))
        return ModelInputs(
            pixel_values=pixel_values,
            clip_pixel_values=clip_pixel_values,
            reference_index=pad_rows(references, -1),
            layout=self.layout(instructions, tasks, [len(line) for line in references], replies),
            geometries=tuple(self.image_processor.geometry(*image.shape[:2]) for image in images[: len(frames)]),
            reference_times=pad_rows(times, 0),
        )

    def _prepare_frames(self, images: Sequence[np.ndarray], key_frames: int) -> tuple[Tensor, Tensor | None]:
        """Every frame for the encoder of visual tokens, the leading key frames for the fine-grained encoder."""
        if self.image_processor.clip_side is None:
            return self._prepare_fine(images), None
        return self._prepare_fine(images[:key_frames]), self.prepare_images(images, fine=False).clip_pixel_values

    def _prepare_fine(self, images: Sequence[np.ndarray]) -> Tensor:
        pixel_values = self.prepare_images(images, clip=False).pixel_values
        assert pixel_values is not None
        return pixel_values

    def prepare_images(self, images: Sequence[np.ndarray], fine: bool = True, clip: bool = True) -> ImageInputs:
        """Prepare images for the encoders; the only place where images are prepared.

        Args:
            images: RGB uint8 (height, width, 3), at least one.
            fine: prepare them for the fine-grained encoder.
            clip: prepare them for the CLIP-type encoder, if the model has one.

        Raises InputError for an image of the wrong type or shape.
        """
        images = [check_frame(image) for image in images]
        processor = self.image_processor
        clip = clip and processor.clip_side is not None
        return ImageInputs(
            torch.stack([processor.prepare(image) for image in images]) if fine else None,
            torch.stack([processor.prepare_clip(image) for image in images]) if clip else None,
        )

    def layout(
        self,
        instructions: Sequence[Sequence[str]],
        tasks: Sequence[Task],
        references: Sequence[int],
        replies: Replies | None = None,
    ) -> Layout:
        """The sequence layout only, for sessions that cache the encoded image.

        Args:
            instructions: instructions of each visual, at least one each.
            tasks: task of each visual.
            references: number of reference frames of each visual.
            replies: for each instruction None, or what the assistant's reply says before its [SEG] token ("" if
                nothing); the reply is then labelled for the text loss. None in place of the list: no labels.

        Raises InputError for an unknown task and for an instruction that is empty or longer than 512 tokens.
        """
        prompts = []
        replies = [[None] * len(texts) for texts in instructions] if replies is None else replies
        for texts, task, answers in zip(instructions, tasks, replies, strict=True):
            check_instructions(texts)
            prompts.append(
                [
                    self.prompts.segmentation(text, check_task(task), reply or "", labels=reply is not None)
                    for text, reply in zip(texts, answers, strict=True)
                ]
            )
        return build_layout(prompts, references, self.token_counts)

    def post_process(
        self,
        mask_logits: Tensor,
        score_logits: Tensor,
        geometry: Geometry,
        selection: str = "score",
        max_masks: int | None = None,
        threshold: float = 0.0,
        plural: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best proposals of one instruction as masks at the photo's original size.

        Args:
            mask_logits: (queries, h, w); score_logits: (queries,).
            geometry: placement of the photo in the square input.
            selection: "score", or "score_x_quality" (times the mean foreground probability; released evaluators).
            max_masks: maximum number of masks, >= 1; near-duplicates of a better mask (IoU above 0.7) are skipped.
                None: 1, or for a plural instruction every proposal that is more likely right than wrong, at least 1.
            threshold: minimum score of a mask, 0..1; nothing is returned if no score reaches it.
            plural: whether the instruction asks for several objects.

        Returns masks bool (n, height, width) and scores float32 (n,) in 0..1, best first, without empty masks.
        Raises InputError for an option out of range, and when the model's output contains NaN.
        """
        check_limits(max_masks, threshold)
        limit = max_masks or (len(score_logits) if plural else 1)
        min_score = max(threshold, PLURAL_SCORE) if limit > 1 and max_masks is None else threshold
        rank = partial(self.rank_proposals, mask_logits, score_logits, geometry, selection)
        selected, scores = rank(limit, min_score)
        if not selected and min_score > threshold:
            selected, scores = rank(1, threshold)
        masks = self.image_processor.restore(mask_logits[selected].float(), geometry) > 0
        not_empty = masks.flatten(1).any(1)
        return masks[not_empty].cpu().numpy(), scores[not_empty].float().cpu().numpy()

    def post_process_referring_segmentation(
        self, outputs: InstructSegOutput, target_sizes: Any = None, threshold: float | None = None,
        max_masks: int | None = None, selection: str | None = None, config: InstructSegConfig | None = None,
    ) -> list[dict[str, Tensor]]:  # fmt: skip
        """The model's output as masks of the images, in the form of transformers' other `post_process_...` methods.

        Args:
            outputs: what the model's forward returned.
            target_sizes: (height, width) of each image: a list of pairs or a tensor (batch, 2). None: masks of the
                square input, padding included, at the proposals' own resolution.
            threshold: minimum score of a mask, 0..1; None: that of `config`, or 0 without `config`.
            max_masks: maximum number of masks per text, see `post_process`.
            selection: "score" or "score_x_quality"; None: that of `config`, or "score" without `config`.
            config: the model's configuration, `model.config`; with it the masks are those of `Segmenter.segment`.

        Returns a dict per image: "masks" bool (n, height, width), "scores" float32 (n,) in 0..1, and "labels" int64
        (n,), the index of each mask's text among those of its image. An image may have none: "no target".
        Raises InputError as `post_process` does, and if there is not one size per image.
        """
        return transformers_style.post_process(
            self.post_process, self.image_processor.geometry, outputs, target_sizes, threshold, max_masks, selection,
            config,
        )  # fmt: skip

    def rank_proposals(
        self,
        mask_logits: Tensor,
        score_logits: Tensor,
        geometry: Geometry,
        selection: str,
        limit: int,
        min_score: float = 0.0,
        min_share: float = 0.0,
    ) -> tuple[list[int], Tensor]:
        """The best proposals of one instruction: their indices and scores (n,), best first; there may be none.

        Used for photos, clips and validation during training. Tensors as in `post_process`.

        Args:
            limit: maximum number of proposals; near-duplicates of a better one (IoU above 0.7) are skipped.
            min_score: minimum score, 0..1.
            min_share: minimum score as a fraction of the best score, 0..1.

        Raises InputError for an unknown `selection`, and when the model's output contains NaN.
        """
        restore = partial(self.image_processor.restore, geometry=geometry)
        scores = score_proposals(mask_logits, score_logits, selection, restore)
        threshold = max(min_score, min_share * float(scores.max())) if len(scores) else min_score
        selected = select_proposals(mask_logits > 0, scores, limit, threshold)
        return selected, scores[selected]


def _list_frames(
    frames: Sequence[Sequence[np.ndarray]], keys: Sequence[int]
) -> tuple[list[np.ndarray], list[list[int]], list[list[int]]]:
    """All frames of a batch, the key frames first; of each visual, its reference frames' indices and relative times."""
    images = [check_frame(visual[key]) for visual, key in zip(frames, keys, strict=True)]
    references, times = [], []
    for index, (visual, key) in enumerate(zip(frames, keys, strict=True)):
        others = [check_frame(frame) for position, frame in enumerate(visual) if position != key]
        references.append(list(range(len(images), len(images) + len(others))) or [index])
        times.append([position - key for position in range(len(visual)) if position != key] or [0])
        images += others
    return images, references, times


def _options_of(config: InstructSegConfig, side: int) -> dict[str, Any]:
    """The options of a model's processor; `side` is the input side of the fine-grained encoder in pixels."""
    vision, seeds = config.vision_config, config.seed_config
    patches = (side // 32) ** 2 if vision is None else (vision.image_size // vision.patch_size) ** 2
    return {
        "image_tokens": patches + (seeds.num_seeds if seeds else 0),
        "frame_tokens": config.perceiver_config.num_latents if config.perceiver_config else 0,
        "mask_tokens": config.num_mask_tokens,
        "block_order": config.block_order,
        "prompt_set": config.prompt_set,
    }


AutoProcessor.register(InstructSegConfig, InstructSegProcessor, exist_ok=True)
