"""Collates samples into batches: model inputs from the processor that inference uses, and targets."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from instructseg.errors import InputError
from instructseg.model.inputs import ModelInputs
from instructseg.model.layout import IGNORE, pad_rows
from instructseg.model.losses import LossNormalizers, Targets
from instructseg.model.processing import InstructSegProcessor
from instructseg.training.data.conversations import prepare_conversations
from instructseg.types import Expression, Sample, Task

TextLoss: TypeAlias = Literal["none", "reason_seg", "all"]
BACKGROUND = "background"
MAX_OBJECTS = 12
"""Maximum number of target masks of an instruction; the largest are kept."""


@dataclass(frozen=True)
class Batch:
    """Model inputs, targets, and the samples themselves for scoring and visualization.

    `targets` is None for conversations, whose target text is in the layout's labels.
    """

    inputs: ModelInputs
    targets: Targets | None
    samples: tuple[Sample, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The samples' ids."""
        return tuple(sample.id for sample in self.samples)

    @property
    def normalizers(self) -> LossNormalizers:
        """Per-batch normalizers of the loss terms."""
        return LossNormalizers.of(self.targets, self.inputs.layout.expression_mask, self.inputs.layout.labels)


class Collator:
    """Collates samples of one kind (photos, clips or conversations) into a batch.

    Args:
        processor: prepares images and prompts.
        stride: input pixels per cell of the pixel classification targets.
        mask_stride: mask targets are averaged over squares of this many input pixels; 1 keeps the input resolution.
        max_tokens: maximum length of a conversation's sequence.
        location_cells: cells per side of the localization targets in the reference frames; 0: no localization targets.
        instances: one target mask per object, where annotated, instead of the union of the instruction's objects.
        text_loss: segmentation samples whose reply is labelled: "none", "reason_seg" (released code) or "all".
        explanation_probability: probability, 0..1, that a labelled reply contains the sample's explanation, if any.
        as_kwargs: return the keyword arguments of the model's forward instead of a `Batch`, as transformers' Trainer
            needs them; photos and clips only.
    """

    def __init__(
        self,
        processor: InstructSegProcessor,
        stride: int = 4,
        mask_stride: int = 1,
        max_tokens: int = 2048,
        location_cells: int = 0,
        instances: bool = False,
        text_loss: TextLoss = "none",
        explanation_probability: float = 0.5,
        as_kwargs: bool = False,
    ) -> None:
        self.processor, self.mask_stride, self.max_tokens = processor, mask_stride, max_tokens
        self.instances = instances
        self.text_loss, self.explanation_probability = text_loss, explanation_probability
        self.location_cells, self.as_kwargs = location_cells, as_kwargs
        self.cells = processor.image_processor.side // stride

    def __call__(self, samples: Sequence[Sample]) -> Any:
        """A `Batch`; with `as_kwargs` a dict. Raises InputError for conversations with `as_kwargs`."""
        batch = self._collate(samples)
        if not self.as_kwargs:
            return batch
        if batch.targets is None:
            raise InputError("expected photos or clips with as_kwargs=True, got conversations; use `instructseg train`")
        kwargs = {name: value for name, value in batch.inputs.model_kwargs.items() if value is not None}
        return {**kwargs, "targets": batch.targets}

    def _collate(self, samples: Sequence[Sample]) -> Batch:
        if samples[0].task is Task.CHAT:
            return Batch(prepare_conversations(self.processor, samples, self.max_tokens), None, tuple(samples))
        inputs = self.processor(
            [sample.frames for sample in samples],
            [[expression.text for expression in sample.expressions] for sample in samples],
            [sample.task for sample in samples],
            [sample.key for sample in samples],
            [[self._reply(sample, expression) for expression in sample.expressions] for sample in samples],
        )
        masks, valid = self._masks(samples, inputs.layout.expression_mask.shape[1])
        regions, names, allowed = self._regions(samples)
        locations = None
        if self.location_cells:
            locations = self._locations(samples, valid.shape[1], inputs.reference_index.shape[1])
        return Batch(inputs, Targets(masks, valid, regions, names, allowed, locations), tuple(samples))

    def _reply(self, sample: Sample, expression: Expression) -> str | None:
        """What the labelled reply says before its [SEG] token; None: the reply is not labelled.

        Whether it explains depends on the sample's id alone, which differs in every pass over the data.
        """
        if self.text_loss == "none" or (self.text_loss == "reason_seg" and sample.task is not Task.REASON_SEG):
            return None
        drawn = zlib.crc32(f"{sample.id} {expression.id} explain".encode()) / 2**32
        return (expression.answer or "") if drawn < self.explanation_probability else ""

    def _masks(self, samples: Sequence[Sample], width: int) -> tuple[Tensor, Tensor]:
        """Masks of each instruction's objects (batch, width, objects, side, side) in [0, 1], and which are valid."""
        stride = self.mask_stride
        side = self.processor.image_processor.side // stride
        objects = [[self._objects(expression) for expression in sample.expressions] for sample in samples]
        most = max(1, *(len(masks) for row in objects for masks in row))
        shape = len(samples), width, most
        masks = torch.zeros(*shape, side, side, dtype=torch.uint8 if stride == 1 else torch.float32)
        valid = torch.zeros(*shape, dtype=torch.bool)
        for row, columns in enumerate(objects):
            for column, members in enumerate(columns):
                for index, member in enumerate(members):
                    mask = self.processor.image_processor.prepare_mask(member)
                    target = mask if stride == 1 else avg_pool2d(mask[None].float(), stride)[0]
                    masks[row, column, index] = target
                    valid[row, column, index] = bool(target.any())
        return masks, valid

    def _objects(self, expression: Expression) -> Sequence[np.ndarray]:
        """The target masks: the objects one by one if asked for and known, largest first, else their union."""
        if expression.mask is None:
            return ()
        if not self.instances or not expression.instances:
            return (expression.mask,)
        return sorted(expression.instances, key=lambda mask: -int(np.count_nonzero(mask)))[:MAX_OBJECTS]

    def _locations(self, samples: Sequence[Sample], width: int, frames: int) -> Tensor:
        """Share of each cell of a reference frame that the target covers; -1 for frames without annotation.

        Shape: (batch, width, frames, location_cells, location_cells); `width` is the maximum number of instructions.
        """
        cells = self.location_cells
        locations = torch.full((len(samples), width, frames, cells, cells), -1.0)
        for row, sample in enumerate(samples):
            for column, expression in enumerate(sample.expressions):
                for frame, mask in enumerate(_reference_masks(sample, expression)):
                    if mask is not None:
                        prepared = self.processor.image_processor.prepare_mask(mask)[None].float()
                        locations[row, column, frame] = adaptive_avg_pool2d(prepared, cells)[0]
        return locations

    def _regions(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel classes of the batch: labels (batch, cells, cells), token ids of names, and allowed names per photo.

        Only names of a photo's own dataset compete for its pixels, since objects of other datasets' vocabularies may be
        unannotated in it.
        """
        datasets = [sample.dataset for sample in samples]
        classes = {(name, data) for sample, data in zip(samples, datasets, strict=True) for name in sample.region_names}
        pairs = [(BACKGROUND, None), *sorted(classes)]
        index = {pair: position for position, pair in enumerate(pairs)}
        labels = torch.zeros(len(samples), self.cells, self.cells, dtype=torch.long)
        for row, (sample, data) in enumerate(zip(samples, datasets, strict=True)):
            if sample.regions is None:
                labels[row] = IGNORE
                continue
            table = np.array([index[name, data] for name in sample.region_names] + [0])
            labels[row] = torch.from_numpy(table[_nearest(sample.regions, self.cells)])
        allowed = torch.tensor([[dataset in (None, data) for _, dataset in pairs] for data in datasets])
        return labels, self._name_ids([name for name, _ in pairs]), allowed

    def _name_ids(self, names: Sequence[str]) -> Tensor:
        ids = [self.processor.tokenizer(f" {name}", add_special_tokens=False).input_ids for name in names]
        return pad_rows(ids, -1)


def _reference_masks(sample: Sample, expression: Expression) -> list[np.ndarray | None]:
    """The target in each reference frame, in the processor's order; a photo is its own reference."""
    if len(sample.frames) == 1:
        return [np.zeros(sample.image.shape[:2], bool) if expression.mask is None else expression.mask]
    if expression.masks is None:
        return []
    return [mask for frame, mask in enumerate(expression.masks) if frame != sample.key]


def _nearest(labels: np.ndarray, cells: int) -> np.ndarray:
    """Labels at the centres of a cells x cells grid stretched over the photo."""
    rows, columns = (((np.arange(cells) + 0.5) * size / cells).astype(int) for size in labels.shape)
    return labels[rows[:, None], columns]
