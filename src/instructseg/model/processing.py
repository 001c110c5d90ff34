"""InstructSegProcessor: photos and instructions to model inputs, and proposals back to masks at the photo's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import AutoProcessor, PreTrainedTokenizerBase, ProcessorMixin

from instructseg.errors import CheckpointError, InputError
from instructseg.model.checks import check_asked, check_batch, check_frame, check_limits, check_task, check_text
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.image_processing import Geometry, InstructSegImageProcessor
from instructseg.model.layout import Block, BlockSizes, Layout, Piece, build_layout
from instructseg.prompts import SEG_TOKEN, format_instruction, split_placeholders, template
from instructseg.types import SELECTIONS, Task

MAX_INSTRUCTION_TOKENS = 512
DUPLICATE_IOU = 0.7
MASKS_AT_ONCE = 4


@dataclass(frozen=True)
class ImageInputs:
    """Prepared images: pixel_values (n, 3, side, side) for the fine-grained encoder, clip_pixel_values (m, 3, h, w) for
    the CLIP-type encoder; None where they were not asked for or the model has no such encoder."""

    pixel_values: Tensor | None
    clip_pixel_values: Tensor | None

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ImageInputs:
        move = lambda tensor: None if tensor is None else tensor.to(device, dtype)  # noqa: E731
        return ImageInputs(move(self.pixel_values), move(self.clip_pixel_values))


@dataclass(frozen=True)
class ModelInputs:
    """A prepared batch; `model_kwargs` is what `InstructSegModel.forward` takes."""

    pixel_values: Tensor
    clip_pixel_values: Tensor | None
    reference_index: Tensor
    layout: Layout
    geometries: tuple[Geometry, ...]

    @property
    def model_kwargs(self) -> dict[str, object]:
        names = ("pixel_values", "clip_pixel_values", "reference_index", "layout")
        return {name: getattr(self, name) for name in names}

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> ModelInputs:
        clip = self.clip_pixel_values
        return replace(
            self,
            pixel_values=self.pixel_values.to(device, dtype),
            clip_pixel_values=None if clip is None else clip.to(device, dtype),
            reference_index=self.reference_index.to(device),
            layout=self.layout.to(device),
        )


class InstructSegProcessor(ProcessorMixin):
    """Prepare frames and instructions for the model, and undo the preparation for its masks.

    The sizes of the blocks, their order and the prompt set belong to a model: build one with `for_config`, or load
    the one saved beside the weights. Raises CheckpointError when the tokenizer has no [SEG] token.
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
        **kwargs: object,
    ):
        self.image_tokens, self.frame_tokens, self.mask_tokens = image_tokens, frame_tokens, mask_tokens
        self.block_order, self.prompt_set = block_order, prompt_set
        super().__init__(image_processor, tokenizer, **kwargs)
        self._pieces: dict[Task, list[Piece]] = {}
        self.seg_id = tokenizer.convert_tokens_to_ids(SEG_TOKEN)
        if self.seg_id is None or self.seg_id == tokenizer.unk_token_id:
            raise CheckpointError(f"the tokenizer has no {SEG_TOKEN} token; give the one saved beside the weights")

    @classmethod
    def for_config(
        cls, config: InstructSegConfig, tokenizer: PreTrainedTokenizerBase, **image_options: object
    ) -> InstructSegProcessor:
        """The processor that fits a model; `image_options` override `InstructSegImageProcessor`'s arguments."""
        side, clip_side = config.backbone_config.image_size, config.vision_config and config.vision_config.image_size
        if config.backbone_config.model_type == "efficientnet_lite":
            image_options = {"resize": "stretch", "mean": (127.0,) * 3, "std": (128.0,) * 3} | image_options
        images = InstructSegImageProcessor(side=side, clip_side=clip_side, **image_options)
        return cls(images, tokenizer, **_blocks(config, side))

    def check_fits(self, config: InstructSegConfig) -> None:
        """Raises CheckpointError naming what differs when this processor was made for another model."""
        needed = _blocks(config, self.image_processor.side)
        given = {name: getattr(self, name) for name in needed}
        needed["clip_side"] = config.vision_config and config.vision_config.image_size
        given["clip_side"] = self.image_processor.clip_side
        wrong = [
            f"{name} is {given[name]}, {needed[name]} was needed" for name in needed if given[name] != needed[name]
        ]
        if len(self.tokenizer) > config.text_config.vocab_size:
            wrong.append(f"the tokenizer has {len(self.tokenizer)} tokens, at most {config.text_config.vocab_size} fit")
        if wrong:
            raise CheckpointError(f"the processor was made for another model: {'; '.join(wrong)}")

    def __call__(
        self,
        frames: Sequence[Sequence[np.ndarray]],
        instructions: Sequence[Sequence[str]],
        tasks: Sequence[Task],
        keys: Sequence[int] | None = None,
    ) -> ModelInputs:
        """Prepare a batch of visuals, each with its own instructions of one task.

        Args:
            frames: for each visual its frames, RGB uint8 (height, width, 3); a photo is one frame and its own
                reference (section 3.2), of a video the frames other than the key frame are the references.
            keys: index of each visual's key frame; default the first.

        Raises InputError for frames, tasks or counts that do not fit, and for an instruction that is empty or longer
        than 512 tokens.
        """
        keys = [0] * len(frames) if keys is None else keys
        check_batch(frames, instructions, tasks, keys)
        images = [check_frame(visual[key]) for visual, key in zip(frames, keys, strict=True)]
        table = []
        for index, (visual, key) in enumerate(zip(frames, keys, strict=True)):
            others = [check_frame(frame) for position, frame in enumerate(visual) if position != key]
            table.append(list(range(len(images), len(images) + len(others))) or [index])
            images += others
        has_clip_encoder = self.image_processor.clip_side is not None
        fine = images[: len(frames)] if has_clip_encoder else images
        return ModelInputs(
            pixel_values=self.prepare_images(fine, clip=False).pixel_values,
            clip_pixel_values=self.prepare_images(images, fine=False).clip_pixel_values if has_clip_encoder else None,
            reference_index=_pad(table),
            layout=self.layout(instructions, tasks, [len(line) for line in table]),
            geometries=tuple(self.image_processor.geometry(*image.shape[:2]) for image in images[: len(frames)]),
        )

    def prepare_images(self, images: Sequence[np.ndarray], fine: bool = True, clip: bool = True) -> ImageInputs:
        """Pixels for the encoders: `fine` for the fine-grained one, `clip` for the CLIP-type one if there is one.

        `images` are RGB uint8 (height, width, 3). Every path to the model prepares its images here.
        """
        images = [check_frame(image) for image in images]
        processor = self.image_processor
        clip = clip and processor.clip_side is not None
        return ImageInputs(
            torch.stack([processor.prepare(image) for image in images]) if fine else None,
            torch.stack([processor.prepare_clip(image) for image in images]) if clip else None,
        )

    def layout(self, instructions: Sequence[Sequence[str]], tasks: Sequence[Task], references: Sequence[int]) -> Layout:
        """The sequence layout alone, for sessions that keep the encoded image."""
        prompts = []
        for asked, task in zip(instructions, tasks, strict=True):
            check_asked(asked)
            prompts.append([self.prompt(text, check_task(task)) for text in asked])
        return build_layout(prompts, references, BlockSizes(self.image_tokens, self.frame_tokens, self.mask_tokens))

    def prompt(self, instruction: str, task: Task) -> list[Piece]:
        """The pieces of one instruction's prompt."""
        words = self.instruction_ids(instruction)
        return [
            Piece(Block.INSTRUCTION, words) if piece.block is Block.INSTRUCTION else piece
            for piece in self._template(task)
        ]

    def instruction_ids(self, instruction: str) -> tuple[int, ...]:
        """Token ids of an instruction, special tokens in it read as plain text, with the [SEG] token at the end."""
        check_text(instruction)
        return (*self.limited_ids(format_instruction(instruction, self.prompt_set), "instruction"), self.seg_id)

    def limited_ids(self, text: str, what: str) -> tuple[int, ...]:
        """Token ids of what a person wrote, as plain words. Raises InputError when they are more than 512."""
        ids = self.text_ids(text, plain=True)
        if len(ids) > MAX_INSTRUCTION_TOKENS:
            raise InputError(
                f"the {what} has {len(ids):,} tokens ({len(text.split()):,} words); "
                f"at most {MAX_INSTRUCTION_TOKENS} tokens are read, shorten it"
            )
        return ids

    def _template(self, task: Task) -> list[Piece]:
        if task not in self._pieces:
            placeholders = {block.value: block for block in Block if block.value}
            parts = split_placeholders(template(self.prompt_set, task, self.block_order))
            skipped = [] if self.frame_tokens else [Block.REFERENCES.value]
            self._pieces[task] = [
                Piece(placeholders[part]) if part in placeholders else Piece(Block.TEXT, self.text_ids(part))
                for part in parts
                if part not in skipped
            ]
        return self._pieces[task]

    def text_ids(self, text: str, plain: bool = False) -> tuple[int, ...]:
        """Token ids of a text; `plain` reads special tokens in it as words."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=plain).input_ids)

    def post_process(
        self,
        mask_logits: Tensor,
        score_logits: Tensor,
        geometry: Geometry,
        selection: str = "score",
        max_masks: int = 1,
        threshold: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose among one instruction's proposals and bring the masks to the photo's own size.

        Args:
            mask_logits: (queries, h, w); score_logits: (queries,).
            selection: "score", or "score_x_quality" (times the mean foreground probability; released evaluators).
            max_masks: at most so many masks; proposals that repeat a better one (IoU above 0.7) are passed over.
            threshold: masks with a lower score are left out, so there may be none.

        Returns masks bool (n, height, width) and scores float32 (n,), best first; empty masks are left out.
        Raises InputError for an option out of range, and when the model computed NaN, which no answer can follow from.
        """
        check_limits(max_masks, threshold)
        chosen, scores = self.rank_proposals(mask_logits, score_logits, geometry, selection, max_masks, threshold)
        masks = self.image_processor.restore(mask_logits[chosen].float(), geometry) > 0
        keep = masks.flatten(1).any(1)
        return masks[keep].cpu().numpy(), scores[keep].float().cpu().numpy()

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
        """The best proposals of one instruction: their indices and scores, best first; may be none.

        Photos, clips and validation during training all rank here. Shapes as in `post_process`.

        Args:
            limit: maximum number of proposals; near-duplicates of a better one (IoU above 0.7) are skipped.
            min_score: minimum score of a proposal.
            min_share: minimum score as a share of the best score.

        Raises InputError for an unknown `selection`, and when the model computed NaN.
        """
        if selection not in SELECTIONS:
            raise InputError(f"selection is {selection!r}; it is one of {', '.join(SELECTIONS)}")
        if score_logits.isnan().any() or mask_logits.isnan().any():
            raise InputError("the model computed NaN instead of masks; load it with dtype='float32', or other weights")
        scores = score_logits.float().sigmoid()
        if selection == "score_x_quality":
            restore = self.image_processor.restore
            few = mask_logits.split(MASKS_AT_ONCE)  # a hundred masks of a large photo would fill gigabytes
            scores = scores * torch.cat([mask_quality(restore(masks, geometry)) for masks in few])
        floor = max(min_score, min_share * float(scores.max())) if len(scores) else min_score
        chosen = choose_proposals(mask_logits > 0, scores, limit, floor)
        return chosen, scores[chosen]


def mask_quality(mask_logits: Tensor) -> Tensor:
    """Mean probability of each mask's own foreground, 0 when it has none: (n, h, w) -> (n,)."""
    flat = mask_logits.flatten(1)
    inside = (flat > 0).to(flat.dtype)
    return (flat.sigmoid() * inside).sum(1) / (inside.sum(1) + 1e-6)


def choose_proposals(masks: Tensor, scores: Tensor, max_masks: int, threshold: float) -> list[int]:
    """Indices of the best proposals above the threshold, duplicates passed over."""
    flat, chosen = masks.flatten(1), []
    for index in scores.argsort(descending=True).tolist():
        if len(chosen) == max_masks or float(scores[index]) < threshold:
            break
        shared = (flat[chosen] & flat[index]).sum(1)
        joined = (flat[chosen] | flat[index]).sum(1).clamp(min=1)
        if not (shared / joined > DUPLICATE_IOU).any():
            chosen.append(index)
    return chosen


def _blocks(config: InstructSegConfig, side: int) -> dict[str, int | str]:
    """What a processor must know of its model, by the names of its own fields; `side` of the fine-grained input."""
    eyes = config.vision_config
    return {
        "image_tokens": (side // 32) ** 2 if eyes is None else (eyes.image_size // eyes.patch_size) ** 2,
        "frame_tokens": config.perceiver_config.num_latents if config.perceiver_config else 0,
        "mask_tokens": config.num_mask_tokens,
        "block_order": config.block_order,
        "prompt_set": config.prompt_set,
    }


def _pad(table: list[list[int]]) -> Tensor:
    longest = max(len(line) for line in table)
    return torch.tensor([line + [-1] * (longest - len(line)) for line in table])


AutoProcessor.register(InstructSegConfig, InstructSegProcessor, exist_ok=True)
