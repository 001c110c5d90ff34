"""ImageSession: one photo, encoded once, for any number of instructions."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from instructseg.inference.arguments import choose_task, list_texts
from instructseg.inference.chat import Conversation, PhotoContext, check_max_new_tokens, prefill_photo, warn_untrained
from instructseg.inference.explanation import ExplainedPrediction, OnText, explain
from instructseg.inference.prediction import Prediction
from instructseg.inference.video.byte_cache import tensor_bytes
from instructseg.model.checks import check_limits
from instructseg.model.layout import Layout
from instructseg.model.modeling import InstructSegModel
from instructseg.model.outputs import InstructSegOutput, VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

logger = logging.getLogger(__name__)

MAX_PACKED = 16
"""Maximum number of instructions in one pass of the language model."""


def packed_groups(tasks: Sequence[Task]) -> Iterator[tuple[Task, list[int]]]:
    """The instructions of each pass of the language model, as indices: all of one task, at most `MAX_PACKED`."""
    for task in dict.fromkeys(tasks):
        members = [index for index, other in enumerate(tasks) if other is task]
        for start in range(0, len(members), MAX_PACKED):
            yield task, members[start : start + MAX_PACKED]


class ImageSession:
    """One photo for several instructions or questions; everything computed from the photo alone is cached.

    The cache holds the features of the encoders and the pixel decoder and, per task, the language model's keys and
    values of the prompt before the instruction (with the image-first order, this includes all visual tokens).

    Attributes: `image`: the upright photo, RGB uint8 (height, width, 3). `source`: its path, where known. `model`,
    `processor`, `model_name`: those of the Segmenter.
    """

    def __init__(
        self, model: InstructSegModel, processor: InstructSegProcessor, image: np.ndarray,
        source: str | None = None, model_name: str | None = None,
    ):  # fmt: skip
        self.model, self.processor, self.model_name = model, processor, model_name
        self.image, self.source = image, source
        self._visual_features: VisualFeatures | None = None
        self._prefix_caches: dict[Task, Cache] = {}
        self._chat_prefix: PhotoContext | None = None
        self._conversation: Conversation | None = None

    def __repr__(self) -> str:
        return f"ImageSession(source={self.source!r}, size={self.image.shape[:2]}, model={self.model_name!r})"

    @property
    def nbytes(self) -> int:
        """Bytes of the photo's pixels and of the tensors cached so far."""
        chat = [self._chat_prefix and self._chat_prefix.prefix, self._conversation and self._conversation.cache]
        caches = [cache for cache in [*self._prefix_caches.values(), *chat] if cache is not None]
        keys_and_values = [list(vars(layer).values()) for cache in caches for layer in cache.layers]
        return self.image.nbytes + tensor_bytes([self._visual_features, *keys_and_values])

    @overload
    def segment(
        self, instruction: str, task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: Literal[False] = False,
    ) -> Prediction: ...  # fmt: skip
    @overload
    def segment(
        self, instruction: list[str] | tuple[str, ...], task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: Literal[False] = False,
    ) -> list[Prediction]: ...  # fmt: skip
    @overload
    def segment(
        self, instruction: str, task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: Literal[True],
    ) -> ExplainedPrediction: ...  # fmt: skip
    @overload
    def segment(
        self, instruction: list[str] | tuple[str, ...], task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: Literal[True],
    ) -> list[ExplainedPrediction]: ...  # fmt: skip
    def segment(
        self, instruction: str | Sequence[str], task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: bool = False,
    ) -> Any:  # fmt: skip
        """Segment what the instruction describes; a list of instructions gives a list of predictions.

        For the arguments and errors see `Segmenter.segment`.
        """
        texts = list_texts(instruction)
        tasks = [choose_task(task, text) for text in texts]
        check_limits(max_masks, threshold)
        if explain:
            explained = [
                self.reason(text, task=kind, max_masks=max_masks, threshold=threshold)
                for text, kind in zip(texts, tasks, strict=True)
            ]
            return explained[0] if isinstance(instruction, str) else explained
        predictions: dict[int, Prediction] = {}
        for kind, members in packed_groups(tasks):
            answers = self._segment_together([texts[member] for member in members], kind, max_masks, threshold)
            predictions |= zip(members, answers, strict=True)
        ordered = [predictions[index] for index in range(len(texts))]
        return ordered[0] if isinstance(instruction, str) else ordered

    @torch.inference_mode()
    def reason(
        self, question: str, max_new_tokens: int = 128, task: Task | str | None = Task.REASON_SEG,
        max_masks: int | None = None, threshold: float | None = None, on_text: OnText | None = None,
    ) -> ExplainedPrediction:  # fmt: skip
        """Answer a question with words and the masks that belong to them; see `Segmenter.reason`."""
        kind = choose_task(task, question)
        check_limits(max_masks, threshold)
        check_max_new_tokens(max_new_tokens)
        warn_untrained(self.model, self.model_name)
        visual, prefix = self._prepare(self.processor.layout([[question]], [kind], [1]).to(self.model.device), kind)
        written = explain(self.model, self.processor, visual, prefix, question, kind, max_new_tokens, on_text)
        found = self.to_prediction(written.output, (0, 0), question, kind, max_masks, threshold)
        return ExplainedPrediction(
            **vars(found), explanation=written.text, wrote_seg=written.wrote_seg,
            trained_to_write=self.model.config.was_trained_to_write,
        )  # fmt: skip

    def chat(self, question: str, max_new_tokens: int = 128, new_conversation: bool = False) -> str:
        """Answer a question about the photo in words, given the earlier questions and answers of this session.

        `new_conversation` forgets them first. For errors see `stream_chat`.
        """
        return "".join(self.stream_chat(question, max_new_tokens, new_conversation))

    def stream_chat(
        self, question: str, max_new_tokens: int = 128, new_conversation: bool = False
    ) -> Generator[str, None, None]:
        """`chat`, but yields the answer in pieces as it is written; closing it early leaves the conversation unchanged.

        Raises InputError for an empty question, one of more than 512 tokens, or when the conversation is longer than
        the language model can read.
        """
        if new_conversation or self._conversation is None:
            self._conversation = self._converse()
        return self._conversation.stream(question, max_new_tokens)

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """The questions and answers of the current conversation."""
        return () if self._conversation is None else tuple(self._conversation.turns)

    def _converse(self) -> Conversation:
        if self._chat_prefix is None:
            with torch.inference_mode():
                visual = self._visual_features or VisualFeatures(self.model.encode_tokens(*self._pixels()))
            self._chat_prefix = prefill_photo(self.model, self.processor, visual)
        return Conversation(self.model, self.processor, self._chat_prefix, self.model_name)

    @torch.inference_mode()
    def _segment_together(
        self, texts: Sequence[str], task: Task, max_masks: int | None, threshold: float | None
    ) -> list[Prediction]:
        """Segment by instructions of one task in one pass; they share their prefix and do not attend to each other."""
        layout = self.processor.layout([texts], [task], [1]).to(self.model.device)
        reference = torch.zeros(1, 1, dtype=torch.long, device=self.model.device)
        visual, prefix = self._prepare(layout, task)
        output = self.model.forward_from_features(visual, layout, reference, prefix=prefix)
        return [
            self.to_prediction(output, (0, column), text, task, max_masks, threshold)
            for column, text in enumerate(texts)
        ]

    def _prepare(self, layout: Layout, task: Task) -> tuple[VisualFeatures, Cache]:
        """The photo's features and the task's cached prompt before the instruction, computed at the first use."""
        if self._visual_features is None:
            self._visual_features = self.model.remember(self.model.encode_image(*self._pixels()))
        if task not in self._prefix_caches:
            self._prefix_caches[task] = self.model.read_prefix(layout, self._visual_features)
        return self._visual_features, self._prefix_caches[task]

    def _pixels(self) -> tuple[Tensor, Tensor | None]:
        """The photo prepared for the fine-grained encoder, and for the CLIP-type encoder if there is one."""
        images = self.processor.prepare_images([self.image]).to(self.model.device, self.model.dtype)
        assert images.pixel_values is not None  # for the fine-grained encoder; prepared by default
        return images.pixel_values, images.clip_pixel_values

    def to_prediction(
        self, output: InstructSegOutput, place: tuple[int, int], instruction: str, task: Task,
        max_masks: int | None, threshold: float | None,
    ) -> Prediction:  # fmt: skip
        """The prediction for this photo from a batch's output; `place` is (row, instruction's index in the row)."""
        assert output.mask_logits is not None and output.score_logits is not None  # forward always sets them
        masks, scores = self.processor.post_process(
            output.mask_logits[place],
            output.score_logits[place],
            self.processor.image_processor.geometry(*self.image.shape[:2]),
            self.model.config.selection,
            max_masks,
            self.model.config.score_threshold if threshold is None else threshold,
            output.plural_logits is not None and bool(output.plural_logits[place] > 0),
        )
        logger.debug("%s: %r: %s masks, scores %s", self.source or "photo", instruction, len(masks), scores)
        return Prediction(self.image, instruction, task, masks, scores, self.source, self.model_name)
