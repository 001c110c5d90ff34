"""Segmenter: what people call. ImageSession: one photo, encoded once, asked many times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from instructseg.errors import InputError
from instructseg.inference.allocator import keep_freed_memory
from instructseg.inference.arguments import check_attention, choose_device, choose_dtype, choose_task, list_texts
from instructseg.inference.chat import PhotoContext, check_question, generate_answer, prefill_photo
from instructseg.inference.loading import load_pretrained
from instructseg.inference.prediction import Prediction
from instructseg.inference.video.api import segment_video, track
from instructseg.inference.video.options import Linking, VideoOptions
from instructseg.inference.video.results import VideoFrameResult, VideoPrediction
from instructseg.inference.video.session import VideoSession
from instructseg.media.image import load_image
from instructseg.media.video import VideoSource
from instructseg.model.checks import check_limits
from instructseg.model.modeling import InstructSegModel, InstructSegOutput, VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.types import Task

LARGE = 500_000_000  # parameters of a model whose layers' intermediate results are tens of megabytes
Photo = Any  # path, bytes, PIL image or array: whatever `load_image` takes


class Segmenter:
    """A loaded model with its processor.

    segmenter = Segmenter.load("nano")
    result = segmenter.segment("photo.jpg", "the dog on the left")
    result.masks  # bool (N, height, width) at the photo's own size, best first; N may be 0
    """

    def __init__(self, model: InstructSegModel, processor: InstructSegProcessor, name: str | None = None):
        processor.check_fits(model.config)
        self.model, self.processor, self.name = model.eval(), processor, name

    @classmethod
    def load(
        cls, model: str | Path = "nano", device: str = "auto", dtype: str = "auto", attention: str | None = None
    ) -> Segmenter:
        """Load a shipped model ("nano"), a folder, or a hub id.

        Args:
            device: "auto" takes a GPU if there is one; or "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" is float32 on a CPU and bfloat16 on a GPU; or "float32", "bfloat16", "float16".
            attention: attention implementation of transformers, "sdpa" or "eager"; None takes its choice.

        Raises CheckpointError when there are no such weights or their files do not fit together, and InputError for
        an option that is not known or not to be had on this machine.
        """
        where = choose_device(device)
        kind = choose_dtype(dtype, where)
        check_attention(attention)
        loaded, processor = load_pretrained(model, kind, attention)
        if where.type == "cpu" and loaded.num_parameters() >= LARGE:
            keep_freed_memory()
        try:
            return cls(loaded.to(where), processor, str(model))
        except torch.OutOfMemoryError as error:
            raise InputError(f"{model} does not fit into the memory of {where}; use device='cpu'") from error

    def segment(
        self,
        photo: Photo | Sequence[Photo],
        instruction: str | Sequence[str],
        task: Task | str | None = None,
        max_masks: int = 1,
        threshold: float | None = None,
    ) -> Prediction | list[Prediction]:
        """Segment what the instruction names in the photo.

        One photo and one instruction give one `Prediction`; one photo and several instructions a list; a list of
        photos needs as many instructions and gives a list, computed as one batch.

        Args:
            photo: path, bytes, PIL image or array, see `media.image.load_image`.
            task: "res" or "reason_seg"; None tells by the form (a question or a long sentence is reasoning).
            max_masks: at most so many masks, best first.
            threshold: least score of a mask; None takes the model's own. 0 always answers.

        Raises InputError for a photo that cannot be read or an instruction or option that cannot be used.
        """
        if isinstance(photo, list | tuple):
            return self._segment_batch(photo, instruction, task, max_masks, threshold)
        texts = list_texts(instruction)
        session = self.open(photo)
        answers = [session.segment(text, task, max_masks, threshold) for text in texts]
        return answers[0] if isinstance(instruction, str) else answers

    def chat(self, photo: Photo | None, question: str, max_new_tokens: int = 128) -> str:
        """What the language model says about the photo, in words; with None, to the question alone.

        Models never trained on conversations, such as nano, have nothing sensible to say.
        Raises InputError for a photo that cannot be read or an empty question.
        """
        if photo is not None:
            return self.open(photo).chat(question, max_new_tokens)
        check_question(self.processor, question, max_new_tokens)
        return generate_answer(self.model, self.processor, question, max_new_tokens, None)

    def open(self, photo: Photo) -> ImageSession:
        """A session on one photo: the encoders run once, at the first instruction."""
        image = load_image(photo)
        return ImageSession(self, image, os.fsdecode(photo) if isinstance(photo, str | os.PathLike) else None)

    def track(
        self, source: VideoSource, instructions: str | Sequence[str], linking: Linking = "causal", **options: Any
    ) -> Iterator[VideoFrameResult]:
        """Follow what each instruction names through a clip: the answers about every frame, while it is read.

        Args:
            source: a video file, a folder of frames, images, or the number of a camera, see `media.video.open_clip`.
            linking: "causal" follows objects over time, "off" takes the best proposal of each frame.
            options: fields of `inference.video_options.VideoOptions`.

        Raises InputError for what cannot be read or asked; frames before a damage are given.
        """
        return track(self, source, instructions, VideoOptions(linking=linking, **options))

    def segment_video(
        self, source: VideoSource, instructions: str | Sequence[str], linking: Linking = "offline",
        on_frame: Callable[[], None] | None = None, **options: Any,
    ) -> VideoPrediction:  # fmt: skip
        """As `track`, the answers kept for the whole clip; "offline" linking chooses with the end in view.

        `on_frame` is called after each frame. A clip that breaks off gives the answers up to there and says so in
        `error`.
        """
        return segment_video(self, source, instructions, VideoOptions(linking=linking, **options), on_frame)

    def open_video(
        self, instructions: str | Sequence[str], linking: Linking = "causal", **options: Any
    ) -> VideoSession:
        """A session on live video: `session.push(frame)` answers at once, from that frame and those before."""
        return VideoSession(self, instructions, VideoOptions(linking=linking, **options))

    def _segment_batch(
        self, photos: Sequence[Photo], instructions: str | Sequence[str], task: Task | str | None,
        max_masks: int, threshold: float | None,
    ) -> list[Prediction]:  # fmt: skip
        texts = list_texts(instructions, len(photos))
        tasks = [choose_task(task, text) for text in texts]
        check_limits(max_masks, threshold)
        if not photos:
            return []
        sessions = [self.open(photo) for photo in photos]
        inputs = self.processor([(session.image,) for session in sessions], [[text] for text in texts], tasks)
        with torch.inference_mode():
            output = self.model(**inputs.to(self.model.device, self.model.dtype).model_kwargs)
        return [
            session.read(output, row, text, kind, max_masks, threshold)
            for row, (session, text, kind) in enumerate(zip(sessions, texts, tasks, strict=True))
        ]


class ImageSession:
    """One photo that is asked again and again; what depends on the photo alone is computed once.

    That is the encoders' features, the pixel decoder's, and for each task the language model's keys and values of the
    part of the prompt before the instruction (with the image-first order: all the visual tokens) or the question.
    """

    def __init__(self, segmenter: Segmenter, image: np.ndarray, source: str | None = None):
        self.segmenter, self.image, self.source = segmenter, image, source
        self._visual: VisualFeatures | None = None
        self._prefixes: dict[Task, Cache] = {}
        self._read: PhotoContext | None = None

    def segment(
        self,
        instruction: str,
        task: Task | str | None = None,
        max_masks: int = 1,
        threshold: float | None = None,
    ) -> Prediction:
        """As `Segmenter.segment`, for this photo."""
        model, processor = self.segmenter.model, self.segmenter.processor
        kind = choose_task(task, instruction)
        check_limits(max_masks, threshold)
        layout = processor.layout([[instruction]], [kind], [1]).to(model.device)
        reference = torch.zeros(1, 1, dtype=torch.long, device=model.device)
        with torch.inference_mode():
            visual = self._encode()
            if kind not in self._prefixes:
                self._prefixes[kind] = model.read_prefix(layout, visual)
            output = model.forward_from_features(visual, layout, reference, prefix=self._prefixes[kind])
        return self.read(output, 0, instruction, kind, max_masks, threshold)

    def chat(self, question: str, max_new_tokens: int = 128) -> str:
        """As `Segmenter.chat`, for this photo; each question stands alone."""
        model, processor = self.segmenter.model, self.segmenter.processor
        check_question(processor, question, max_new_tokens)
        if self._read is None:
            with torch.inference_mode():
                visual = self._visual or VisualFeatures(model.encode_tokens(*self._pixels()))
            self._read = prefill_photo(model, processor, visual)
        return generate_answer(model, processor, question, max_new_tokens, self._read)

    @torch.inference_mode()
    def _encode(self) -> VisualFeatures:
        if self._visual is None:
            self._visual = self.segmenter.model.encode_image(*self._pixels())
        return self._visual

    def _pixels(self) -> tuple[Tensor, Tensor | None]:
        """The photo as the encoders read it: for the fine-grained one, and for the CLIP-type one if there is one."""
        model = self.segmenter.model
        images = self.segmenter.processor.prepare_images([self.image]).to(model.device, model.dtype)
        return images.pixel_values, images.clip_pixel_values

    def read(
        self, output: InstructSegOutput, row: int, instruction: str, task: Task,
        max_masks: int, threshold: float | None,
    ) -> Prediction:  # fmt: skip
        """The prediction from row `row` of a batch's output, which holds one instruction per row."""
        config, processor = self.segmenter.model.config, self.segmenter.processor
        masks, scores = processor.post_process(
            output.mask_logits[row, 0],
            output.score_logits[row, 0],
            processor.image_processor.geometry(*self.image.shape[:2]),
            config.selection,
            max_masks,
            config.score_threshold if threshold is None else threshold,
        )
        return Prediction(self.image, instruction, task, masks, scores, self.source, self.segmenter.name)
