"""ImageSession: one photo, encoded once, for any number of instructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from instructseg.inference.arguments import choose_task, list_texts
from instructseg.inference.chat import PhotoContext, check_question, generate_answer, prefill_photo
from instructseg.inference.prediction import Prediction
from instructseg.inference.video.byte_cache import tensor_bytes
from instructseg.model.checks import check_limits
from instructseg.model.modeling import InstructSegModel
from instructseg.model.outputs import InstructSegOutput, VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

MAX_PACKED = 16
"""Maximum number of instructions in one pass of the language model."""


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

    def __repr__(self) -> str:
        return f"ImageSession(source={self.source!r}, size={self.image.shape[:2]}, model={self.model_name!r})"

    @property
    def nbytes(self) -> int:
        """Bytes of the photo's pixels and of the tensors cached so far."""
        chat = [self._chat_prefix.visual] if self._chat_prefix else []
        prompts = [*self._prefix_caches.values(), *([self._chat_prefix.prefix] if self._chat_prefix else [])]
        keys_and_values = [list(vars(layer).values()) for cache in prompts for layer in cache.layers]
        return self.image.nbytes + tensor_bytes([self._visual_features, *chat, *keys_and_values])

    @overload
    def segment(
        self,
        instruction: str,
        task: Task | str | None = None,
        max_masks: int | None = None,
        threshold: float | None = None,
    ) -> Prediction: ...
    @overload
    def segment(
        self, instruction: list[str] | tuple[str, ...], task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None,
    ) -> list[Prediction]: ...  # fmt: skip
    def segment(
        self, instruction: str | Sequence[str], task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None,
    ) -> Prediction | list[Prediction]:  # fmt: skip
        """Segment what the instruction describes; a list of instructions gives a list of predictions.

        For the arguments and errors see `Segmenter.segment`.
        """
        texts = list_texts(instruction)
        tasks = [choose_task(task, text) for text in texts]
        check_limits(max_masks, threshold)
        predictions: dict[int, Prediction] = {}
        for kind in dict.fromkeys(tasks):
            rows = [row for row, other in enumerate(tasks) if other is kind]
            for start in range(0, len(rows), MAX_PACKED):
                chunk = rows[start : start + MAX_PACKED]
                answers = self._segment_together([texts[row] for row in chunk], kind, max_masks, threshold)
                predictions |= zip(chunk, answers, strict=True)
        ordered = [predictions[row] for row in range(len(texts))]
        return ordered[0] if isinstance(instruction, str) else ordered

    def chat(self, question: str, max_new_tokens: int = 128) -> str:
        """Answer a question about the photo in words; earlier questions are not part of the prompt."""
        check_question(self.processor, question, max_new_tokens)
        if self._chat_prefix is None:
            with torch.inference_mode():
                visual = self._visual_features or VisualFeatures(self.model.encode_tokens(*self._pixels()))
            self._chat_prefix = prefill_photo(self.model, self.processor, visual)
        return generate_answer(self.model, self.processor, question, max_new_tokens, self._chat_prefix)

    @torch.inference_mode()
    def _segment_together(
        self, texts: Sequence[str], task: Task, max_masks: int | None, threshold: float | None
    ) -> list[Prediction]:
        """Instructions of one task in one pass, behind their shared prefix; none of them attends to another."""
        layout = self.processor.layout([texts], [task], [1]).to(self.model.device)
        reference = torch.zeros(1, 1, dtype=torch.long, device=self.model.device)
        if self._visual_features is None:
            self._visual_features = self.model.encode_image(*self._pixels())
        if task not in self._prefix_caches:
            self._prefix_caches[task] = self.model.read_prefix(layout, self._visual_features)
        prefix = self._prefix_caches[task]
        output = self.model.forward_from_features(self._visual_features, layout, reference, prefix=prefix)
        return [
            self.to_prediction(output, (0, column), text, task, max_masks, threshold)
            for column, text in enumerate(texts)
        ]

    def _pixels(self) -> tuple[Tensor, Tensor | None]:
        """The photo prepared for the fine-grained encoder, and for the CLIP-type encoder if there is one."""
        images = self.processor.prepare_images([self.image]).to(self.model.device, self.model.dtype)
        assert images.pixel_values is not None  # for the fine-grained encoder; prepared by default
        return images.pixel_values, images.clip_pixel_values

    def to_prediction(
        self, output: InstructSegOutput, place: tuple[int, int], instruction: str, task: Task,
        max_masks: int | None, threshold: float | None,
    ) -> Prediction:  # fmt: skip
        """The prediction for this photo from a batch's output; `place` is its row and its instruction in the row."""
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
        return Prediction(self.image, instruction, task, masks, scores, self.source, self.model_name)
