"""Segmenter: what people call. ImageSession: one photo, encoded once, asked many times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import Cache
from transformers.utils import logging as transformers_logging

from instructseg.errors import CheckpointError, InputError
from instructseg.inference.checkpoints import find
from instructseg.inference.prediction import Prediction
from instructseg.media.image import load_image
from instructseg.model.answers import conversation
from instructseg.model.layout import build_layout
from instructseg.model.modeling import InstructSegModel, InstructSegOutput, VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.prompts import guess_task
from instructseg.types import Task

Photo = Any  # path, bytes, PIL image or array: whatever `load_image` takes
PHOTO_TASKS = (Task.RES, Task.REASON_SEG)


class Segmenter:
    """A loaded model with its processor.

        segmenter = Segmenter.load("nano")
        result = segmenter.segment("photo.jpg", "the dog on the left")
        result.masks  # bool (N, height, width) at the photo's own size, best first; N may be 0
    """

    def __init__(self, model: InstructSegModel, processor: InstructSegProcessor, name: str | None = None):
        self.model, self.processor, self.name = model.eval(), processor, name

    @classmethod
    def load(
        cls, model: str | Path = "nano", device: str = "auto", dtype: str = "auto", attention: str | None = None
    ) -> Segmenter:
        """Load a shipped model ("nano"), a folder, or a hub id.

        Args:
            device: "auto" takes a GPU if there is one; or "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" is float32 on a CPU and bfloat16 on a GPU; or "float32", "bfloat16", "float16".
            attention: attention implementation of transformers ("sdpa", "eager", "flash_attention_2").

        Raises CheckpointError when there are no such weights and InputError for an unknown device or dtype.
        """
        where = _device(device)
        kind = _dtype(dtype, where)
        folder = find(model)
        options = {"attn_implementation": attention} if attention else {}
        try:
            with _no_progress_bar():
                loaded = InstructSegModel.from_pretrained(folder, dtype=kind, **options)
            processor = InstructSegProcessor.from_pretrained(folder)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot load {model}: {error}") from error
        return cls(loaded.to(where), processor, str(model))

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

        Raises InputError for a photo that cannot be read or an instruction that cannot be used.
        """
        if isinstance(photo, list | tuple):
            return self._segment_batch(photo, instruction, task, max_masks, threshold)
        session = self.open(photo)
        if isinstance(instruction, str):
            return session.segment(instruction, task, max_masks, threshold)
        return [session.segment(text, task, max_masks, threshold) for text in instruction]

    def chat(self, photo: Photo, question: str, max_new_tokens: int = 128) -> str:
        """What the language model says about the photo, in words; models never trained on conversations, such as
        nano, have nothing sensible to say.

        Raises InputError for a photo that cannot be read or an empty question.
        """
        return self.open(photo).chat(question, max_new_tokens)

    def open(self, photo: Photo) -> ImageSession:
        """A session on one photo: the encoders run once, at the first instruction."""
        source = str(photo) if isinstance(photo, str | Path) else None
        return ImageSession(self, load_image(photo), source)

    def _segment_batch(
        self, photos: Sequence[Photo], instructions: str | Sequence[str], task: Task | str | None,
        max_masks: int, threshold: float | None,
    ) -> list[Prediction]:  # fmt: skip
        texts = [instructions] * len(photos) if isinstance(instructions, str) else list(instructions)
        if len(texts) != len(photos):
            raise InputError(f"{len(photos)} photos and {len(texts)} instructions; give one instruction per photo")
        if not photos:
            return []
        sessions = [self.open(photo) for photo in photos]
        tasks = [choose_task(task, text) for text in texts]
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
    part of the prompt before the instruction (with the image-first order: all the visual tokens).
    """

    def __init__(self, segmenter: Segmenter, image: np.ndarray, source: str | None = None):
        self.segmenter, self.image, self.source = segmenter, image, source
        self._visual: VisualFeatures | None = None
        self._prefixes: dict[Task, Cache] = {}

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
        layout = processor.layout([[instruction]], [kind], [1]).to(model.device)
        reference = torch.zeros(1, 1, dtype=torch.long, device=model.device)
        with torch.inference_mode():
            visual = self._encode()
            if kind not in self._prefixes:
                self._prefixes[kind] = model.read_prefix(layout, visual)
            output = model.answer(visual, layout, reference, prefix=self._prefixes[kind])
        return self.read(output, 0, instruction, kind, max_masks, threshold)

    def chat(self, question: str, max_new_tokens: int = 128) -> str:
        """As `Segmenter.chat`, for this photo; each question stands alone."""
        model, processor = self.segmenter.model, self.segmenter.processor
        if not question.strip():
            raise InputError('the question is empty; ask something, e.g. "what is on the table?"')
        sizes = model.block_sizes(processor.image_tokens)
        layout = build_layout([[conversation(processor, [(question, None)])]], [1], sizes).to(model.device)
        with torch.inference_mode():
            visual = self._visual or model.encode_tokens(*self._pixels())
            words = model.generate_text(layout, visual, max_new_tokens, (processor.tokenizer.eos_token_id,))
        return processor.tokenizer.decode(words, skip_special_tokens=True).strip()

    @torch.inference_mode()
    def _encode(self) -> VisualFeatures:
        if self._visual is None:
            self._visual = self.segmenter.model.encode_image(*self._pixels())
        return self._visual

    def _pixels(self) -> tuple[Tensor, Tensor | None]:
        """The photo as the encoders read it: for the fine-grained one, and for the CLIP-type one if there is one."""
        model, images = self.segmenter.model, self.segmenter.processor.image_processor
        move = lambda tensor: tensor[None].to(model.device, model.dtype)  # noqa: E731
        clip = None if images.clip_side is None else move(images.prepare_clip(self.image))
        return move(images.prepare(self.image)), clip

    def read(
        self, output: InstructSegOutput, row: int, instruction: str, task: Task,
        max_masks: int, threshold: float | None,
    ) -> Prediction:  # fmt: skip
        """The prediction from row `row` of a batch's output, which holds one instruction per row."""
        if max_masks < 1:
            raise InputError(f"max_masks is {max_masks}; at least 1 is needed")
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


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading takes a second: transformers' bar would only litter the terminal."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def choose_task(task: Task | str | None, instruction: str) -> Task:
    """The task asked for, or the one the instruction's form tells; InputError unless it is one for photos."""
    if task is None:
        return guess_task(instruction)
    if task not in PHOTO_TASKS:
        raise InputError(f"task is {task!r}; for photos it is one of {', '.join(kind.value for kind in PHOTO_TASKS)}")
    return Task(task)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device {name!r} is not one torch knows; use auto, cpu, cuda, cuda:0 or mps") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name!r} was asked for, but torch sees no CUDA GPU here; use device='cpu'")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {name!r} was asked for, but torch sees no Apple GPU here; use device='cpu'")
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise InputError(f"dtype {name!r} is not one of auto, {', '.join(known)}")
    return known[name]
