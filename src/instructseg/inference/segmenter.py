"""Segmenter: a loaded model with methods to segment photos and clips, and to chat."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import torch

from instructseg.errors import InputError
from instructseg.inference.allocator import keep_freed_memory
from instructseg.inference.arguments import check_attention, choose_device, choose_dtype, choose_task, list_texts
from instructseg.inference.chat import Conversation
from instructseg.inference.compilation import compile_encoders
from instructseg.inference.explanation import ExplainedPrediction, OnText
from instructseg.inference.image_session import ImageSession
from instructseg.inference.loading import load_pretrained
from instructseg.inference.photo_batches import (
    BATCH_BYTES,
    encode_photos,
    photos_per_batch,
    segment_photos,
    segment_rows,
    split,
)
from instructseg.inference.prediction import Prediction
from instructseg.inference.quantization import choose_unquantized_dtype, quantize_weights
from instructseg.inference.video.api import segment_video, track
from instructseg.inference.video.frames import StreamedFramePrediction
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.results import VideoPrediction
from instructseg.inference.video.session import VideoSession
from instructseg.media.image import ImageInput, load_image
from instructseg.media.video import VideoInput
from instructseg.model.checks import check_limits
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

logger = logging.getLogger(__name__)

LARGE_MODEL = 500_000_000
"""Minimum number of parameters of a model whose activations are tens of megabytes each."""


class Segmenter:
    """A loaded model with its processor.

        segmenter = Segmenter.load("nano")
        result = segmenter.segment("photo.jpg", "the dog on the left")
        result.masks  # bool (masks, height, width) at the photo's original size, best first; may be empty

    Attributes: `model`, `processor`, and `name`, the name under which the weights were loaded.
    """

    def __init__(self, model: InstructSegModel, processor: InstructSegProcessor, name: str | None = None):
        processor.check_fits(model.config)
        self.model, self.processor, self.name = model.eval(), processor, name

    def __repr__(self) -> str:
        return f"Segmenter({self.name!r}, device={str(self.model.device)!r}, dtype={str(self.model.dtype)!r})"

    @classmethod
    def load(
        cls, model: str | Path = "nano", device: str = "auto", dtype: str = "auto", attention: str | None = None,
        *, revision: str | None = None, token: str | bool | None = None, cache_dir: str | Path | None = None,
        quantize: str | None = None, compile: bool = False,
    ) -> Segmenter:  # fmt: skip
        """Load a model.

        Args:
            model: the name of a shipped model ("nano"), a folder, or a Hugging Face hub id.
            device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or "mps".
            dtype: "auto" (bfloat16 on a GPU, else float32), "float32", "bfloat16" or "float16".
            attention: attention implementation of transformers, "sdpa" or "eager"; None: the default.
            revision: branch, tag or commit of a hub id; None: its default branch.
            token: access token for a private or gated hub id; None: the one that `hf auth login` stored.
            cache_dir: folder of the hub's cache; None: the environment variable INSTRUCTSEG_CACHE, else its default.
            quantize: "int8" or "int4": hold the weights of the language model and of the CLIP-type encoder in this
                format; needs torchao (the extra `quantize`), and "int4" needs bfloat16. None: no quantization.
            compile: compile the image encoders and the pixel decoder with torch.compile; the first photo of each batch
                size then takes up to minutes.

        Raises CheckpointError when the weights are missing or inconsistent, and InputError for an option that is
        unknown or not available on this machine.
        """
        target = choose_device(device)
        torch_dtype = choose_dtype(choose_unquantized_dtype(quantize, target, dtype), target)
        check_attention(attention)
        loaded, processor = load_pretrained(
            model, torch_dtype, attention, revision=revision, token=token, cache_dir=cache_dir
        )
        if target.type == "cpu" and loaded.num_parameters() >= LARGE_MODEL:
            keep_freed_memory()
        logger.info("%s runs on %s in %s", model, target, str(torch_dtype).removeprefix("torch."))
        try:
            # transformers wraps `to` in a decorator that hides its signature.
            loaded.to(target)  # pyright: ignore[reportArgumentType]
            if target.type == "cpu":  # convolutions over few channels of a large map are several times faster
                loaded.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            segmenter = cls(loaded, processor, str(model))
            if quantize is not None:
                quantize_weights(segmenter.model, quantize)
            if compile:
                compile_encoders(segmenter.model)
            return segmenter
        except torch.OutOfMemoryError as error:
            raise InputError(f"{model} does not fit in the memory of {target}; use device='cpu'") from error

    @overload
    def segment(
        self, photo: list[Any] | tuple[Any, ...], instruction: str | list[str] | tuple[str, ...],
        task: Task | str | None = None, max_masks: int | None = None, threshold: float | None = None, *,
        explain: Literal[False] = False,
    ) -> list[Prediction]: ...  # fmt: skip
    @overload
    def segment(
        self, photo: ImageInput, instruction: str, task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: Literal[False] = False,
    ) -> Prediction: ...  # fmt: skip
    @overload
    def segment(
        self, photo: ImageInput, instruction: list[str] | tuple[str, ...], task: Task | str | None = None,
        max_masks: int | None = None, threshold: float | None = None, *, explain: Literal[False] = False,
    ) -> list[Prediction]: ...  # fmt: skip
    @overload
    def segment(
        self, photo: ImageInput, instruction: str, task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: Literal[True],
    ) -> ExplainedPrediction: ...  # fmt: skip
    @overload
    def segment(
        self, photo: Any, instruction: Any, task: Task | str | None = None, max_masks: int | None = None,
        threshold: float | None = None, *, explain: Literal[True],
    ) -> list[ExplainedPrediction]: ...  # fmt: skip
    def segment(
        self, photo: ImageInput | list[Any] | tuple[Any, ...], instruction: str | Sequence[str],
        task: Task | str | None = None, max_masks: int | None = None, threshold: float | None = None, *,
        explain: bool = False,
    ) -> Any:  # fmt: skip
        """Segment what the instruction describes in the photo.

        One photo and one instruction give one `Prediction`; one photo and a list of instructions give a list. A list of
        photos, with one instruction for all or one per photo, is computed in batches (at most 4 photos on a CPU, 8 on
        a GPU) and gives a list. For photos that do not fit in memory together, or several instructions each, see
        `segment_many`.

        Args:
            photo: a path, the bytes of an image file, a PIL image or an array, see `media.image.load_image`.
            instruction: what to segment, e.g. "the dog on the left" or "what could bite?".
            task: "res" or "reason_seg"; None: inferred from the form (questions and long sentences are reasoning).
            max_masks: maximum number of masks per instruction, at least 1; the best are kept. None: as many as the
                instruction asks for, one for "the dog", one for each dog for "all the dogs" (models with seeds).
            threshold: minimum score of a mask, 0..1; None: the model's default. With 0 only empty masks are left out.
            explain: also write an explanation, one instruction at a time, and take the masks that belong to it; gives
                `ExplainedPrediction`, see `reason`.

        Raises InputError for an unreadable photo, or an invalid instruction or option.
        """
        if explain and isinstance(photo, list | tuple):
            texts = list_texts(instruction, len(photo))
            tasks = [choose_task(task, text) for text in texts]
            each = zip(photo, texts, tasks, strict=True)
            return [self.open(one).reason(text, 128, kind, max_masks, threshold) for one, text, kind in each]
        if isinstance(photo, list | tuple):
            return self._segment_batch(photo, instruction, task, max_masks, threshold)
        texts = list_texts(instruction)
        session = self.open(photo)
        predictions = (
            session.segment(texts, task, max_masks, threshold, explain=True) if explain
            else session.segment(texts, task, max_masks, threshold)
        )  # fmt: skip
        return predictions[0] if isinstance(instruction, str) else predictions

    def segment_many(
        self, photos: Iterable[ImageInput], instructions: str | Sequence[str], task: Task | str | None = None,
        max_masks: int | None = None, threshold: float | None = None, batch_bytes: int = BATCH_BYTES,
    ) -> Iterator[list[Prediction]]:  # fmt: skip
        """Segment every photo by all instructions; yields the predictions of each photo, one per instruction.

        Photos are read, and segmented in batches, as the result is iterated over. A batch has at most 4 photos on a CPU
        and 8 on a GPU, fewer if their intermediate results would take more than `batch_bytes` of memory by rough
        estimate. The other arguments and the errors are those of `segment`; an unreadable photo raises InputError
        before any prediction of its batch is yielded.
        """
        texts = list_texts(instructions)
        for text in texts:  # refuses what is wrong before a photo is read
            self.processor.layout([[text]], [choose_task(task, text)], [1])
        check_limits(max_masks, threshold)
        size = photos_per_batch(self.model, self.processor, len(texts), batch_bytes)
        return (
            predictions
            for batch in split(photos, size)
            for predictions in segment_photos([self.open(photo) for photo in batch], texts, task, max_masks, threshold)
        )

    def reason(
        self, photo: ImageInput, question: str, max_new_tokens: int = 128, task: Task | str | None = Task.REASON_SEG,
        max_masks: int | None = None, threshold: float | None = None, on_text: OnText | None = None,
    ) -> ExplainedPrediction:  # fmt: skip
        """Answer a question about the photo with words and the masks that belong to them.

        The model writes its explanation up to [SEG], by greedy decoding, and the mask tokens follow it. Only models
        trained on explanations write sensible ones; others, nano among them, give a warning and `trained_to_write` is
        False.

        Args:
            max_new_tokens: maximum number of tokens of the explanation, at least 1; then [SEG] is appended and
                `wrote_seg` is False.
            on_text: called with each piece of the explanation as it is written.

        Other arguments and errors as in `segment`.
        """
        return self.open(photo).reason(question, max_new_tokens, task, max_masks, threshold, on_text)

    def chat(self, photo: ImageInput | None, question: str, max_new_tokens: int = 128) -> str:
        """Answer one question in text, about the photo or without one (None).

        `open(photo).chat` is a conversation of several turns. Only models trained on conversations give sensible
        answers; others, nano among them, give a warning. Raises InputError for an unreadable photo or an empty
        question.
        """
        if photo is not None:
            return self.open(photo).chat(question, max_new_tokens)
        return Conversation(self.model, self.processor, None, self.name).ask(question, max_new_tokens)

    def open(self, photo: ImageInput) -> ImageSession:
        """A session on one photo, which is encoded once, at the first instruction."""
        image = load_image(photo)
        source = os.fsdecode(photo) if isinstance(photo, str | os.PathLike) else None
        return ImageSession(self.model, self.processor, image, source, self.name)

    def track(
        self, source: VideoInput, instructions: str | Sequence[str], options: VideoOptions | None = None,
        **fields: Any,
    ) -> Iterator[StreamedFramePrediction]:  # fmt: skip
        """Track what each instruction describes through a clip; yields each frame's masks as the clip is read.

        Args:
            source: a video file, a folder of frames, images, or the number of a camera, see `media.video.open_clip`.
            instructions: one instruction or several, all tracked in one pass.
            options: how the clip is read and tracked; single fields of it can be passed as keywords
                (`linking="off"`). The default linking is "causal"; "offline" is an error.

        Raises InputError for an unreadable source, or an invalid instruction or option; for a damaged clip, after the
        frames before the damage.
        """
        return track(self, source, instructions, VideoOptions.create(options, fields))

    def segment_video(
        self, source: VideoInput, instructions: str | Sequence[str], options: VideoOptions | None = None,
        on_frame: Callable[[], None] | None = None, **fields: Any,
    ) -> VideoPrediction:  # fmt: skip
        """Like `track`, but returns the prediction for the whole clip; the default linking is "offline".

        `on_frame` is called after each frame. For a damaged clip the result has the frames up to the damage, and the
        reason in `error`.
        """
        return segment_video(self, source, instructions, VideoOptions.create(options, fields), on_frame)

    def open_video(
        self, instructions: str | Sequence[str], options: VideoOptions | None = None, **fields: Any
    ) -> VideoSession:
        """A session on live video: `session.push(frame)` returns the frame's masks without waiting for later frames.

        The default linking is "causal"; "offline" is an error.
        """
        return VideoSession(self, instructions, VideoOptions.create(options, fields))

    def _segment_batch(
        self, photos: Sequence[ImageInput], instructions: str | Sequence[str], task: Task | str | None,
        max_masks: int | None, threshold: float | None,
    ) -> list[Prediction]:  # fmt: skip
        texts = list_texts(instructions, len(photos))
        tasks = [choose_task(task, text) for text in texts]
        check_limits(max_masks, threshold)
        if not photos:
            return []
        sessions = [self.open(photo) for photo in photos]
        self.processor.layout([[text] for text in texts], tasks, [1] * len(texts))  # refuses what is too long
        answers: list[Prediction] = []
        for rows in split(zip(sessions, texts, tasks, strict=True), photos_per_batch(self.model, self.processor, 1)):
            opened, columns, kinds = [row[0] for row in rows], [[row[1]] for row in rows], [row[2] for row in rows]
            with torch.inference_mode():
                visual = encode_photos(opened)
                batch = segment_rows(opened, visual, columns, kinds, max_masks, threshold)
            answers += [prediction for (prediction,) in batch]
        return answers
