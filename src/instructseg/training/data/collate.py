"""Samples to batches, by the same processor as inference: inputs, and what should be answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from instructseg.model.layout import IGNORE
from instructseg.model.losses import LossNormalizers, Targets
from instructseg.model.processing import InstructSegProcessor, ModelInputs
from instructseg.training.data.conversations import prepare_talk
from instructseg.types import Expression, Sample, Task

BACKGROUND = "background"


@dataclass(frozen=True)
class Batch:
    """Model inputs, what should be answered, and the samples themselves for scoring and pictures.

    `targets` is None for conversations: what should be written is in the layout's labels.
    """

    inputs: ModelInputs
    targets: Targets | None
    samples: tuple[Sample, ...]

    @property
    def counts(self) -> LossNormalizers:
        return LossNormalizers.of(self.targets, self.inputs.layout.expression_mask, self.inputs.layout.labels)


class Collator:
    """Samples of one kind (photos, clips or conversations) to one batch.

    `mask_stride`: 1 gives mask targets of the fine encoder's input size, n averages n x n of their pixels, which costs
    little where predictions are of a quarter of that size anyway. `max_tokens`: of a conversation's sequence.
    `locate`: also tell where the answers are in the reference frames, in so many cells a side; 0 does not.
    """

    def __init__(
        self,
        processor: InstructSegProcessor,
        stride: int = 4,
        mask_stride: int = 1,
        max_tokens: int = 2048,
        locate: int = 0,
    ) -> None:
        self.processor, self.mask_stride, self.max_tokens = processor, mask_stride, max_tokens
        self.locate = locate
        self.cells = processor.image_processor.side // stride

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        if samples[0].task is Task.CHAT:
            return Batch(prepare_talk(self.processor, samples, self.max_tokens), None, tuple(samples))
        inputs = self.processor(
            [sample.frames for sample in samples],
            [[expression.text for expression in sample.expressions] for sample in samples],
            [sample.task for sample in samples],
            [sample.key for sample in samples],
        )
        masks, valid = self._masks(samples, inputs.layout.expression_mask.shape[1])
        regions, names, allowed = self._regions(samples)
        located = self._located(samples, valid.shape[1], inputs.reference_index.shape[1]) if self.locate else None
        return Batch(inputs, Targets(masks, valid, regions, names, allowed, located), tuple(samples))

    def _masks(self, samples: Sequence[Sample], width: int) -> tuple[Tensor, Tensor]:
        stride = self.mask_stride
        side = self.processor.image_processor.side // stride
        masks = torch.zeros(len(samples), width, 1, side, side, dtype=torch.uint8 if stride == 1 else torch.float32)
        valid = torch.zeros(len(samples), width, 1, dtype=torch.bool)
        for row, sample in enumerate(samples):
            for column, expression in enumerate(sample.expressions):
                if expression.mask is not None:
                    mask = self.processor.image_processor.prepare_mask(expression.mask)
                    masks[row, column, 0] = mask if stride == 1 else avg_pool2d(mask[None].float(), stride)[0]
                    valid[row, column, 0] = bool(masks[row, column].any())
        return masks, valid

    def _located(self, samples: Sequence[Sample], width: int, frames: int) -> Tensor:
        """Where the answers are in the reference frames; -1 where a frame's truth is not known."""
        located = torch.full((len(samples), width, frames, self.locate, self.locate), -1.0)
        for row, sample in enumerate(samples):
            for column, expression in enumerate(sample.expressions):
                for place, mask in enumerate(_reference_masks(sample, expression)):
                    if mask is not None:
                        whole = self.processor.image_processor.prepare_mask(mask)[None].float()
                        located[row, column, place] = adaptive_avg_pool2d(whole, self.locate)[0]
        return located

    def _regions(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel names of the batch: labels (batch, cells, cells), name ids, and which names may occur in which photo.

        Only names of a photo's own dataset compete for its pixels: another dataset's may be there unannotated.
        """
        datasets = [sample.dataset for sample in samples]
        owned = {(name, data) for sample, data in zip(samples, datasets, strict=True) for name in sample.region_names}
        pairs = [(BACKGROUND, None), *sorted(owned)]
        index = {pair: position for position, pair in enumerate(pairs)}
        labels = torch.zeros(len(samples), self.cells, self.cells, dtype=torch.long)
        for row, (sample, data) in enumerate(zip(samples, datasets, strict=True)):
            if sample.regions is None:
                labels[row] = IGNORE
                continue
            table = np.array([index[name, data] for name in sample.region_names] + [0])
            labels[row] = torch.from_numpy(table[_nearest(sample.regions, self.cells)])
        allowed = torch.tensor([[owner in (None, data) for _, owner in pairs] for data in datasets])
        return labels, self._name_ids([name for name, _ in pairs]), allowed

    def _name_ids(self, names: Sequence[str]) -> Tensor:
        ids = [self.processor.tokenizer(f" {name}", add_special_tokens=False).input_ids for name in names]
        longest = max(map(len, ids))
        return torch.tensor([line + [-1] * (longest - len(line)) for line in ids])


def _reference_masks(sample: Sample, expression: Expression) -> list[np.ndarray | None]:
    """The answer in each reference frame, in the processor's order; a photo is its own reference."""
    if len(sample.frames) == 1:
        return [np.zeros(sample.image.shape[:2], bool) if expression.mask is None else expression.mask]
    if expression.masks is None:
        return []
    return [mask for place, mask in enumerate(expression.masks) if place != sample.key]


def _nearest(labels: np.ndarray, cells: int) -> np.ndarray:
    """Labels at the centres of a cells x cells grid stretched over the photo."""
    rows, columns = (((np.arange(cells) + 0.5) * size / cells).astype(int) for size in labels.shape)
    return labels[rows[:, None], columns]
