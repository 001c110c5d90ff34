"""From a recipe's data section to photos, samples and batches; a sample depends on (seed, index) only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.data import Dataset

from instructseg.data.compose import ComposeConfig, Composer
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.label_maps import LabelMaps
from instructseg.data.readers.split import is_validation
from instructseg.errors import RecipeError
from instructseg.model.layout import IGNORE
from instructseg.model.losses import Targets
from instructseg.model.processing import InstructSegProcessor, ModelInputs
from instructseg.training.recipe import DataRecipe
from instructseg.types import InstancePhoto, Sample

BACKGROUND = "background"


class Photos(Sequence[InstancePhoto]):
    """Chosen photos of several readers, one after the other."""

    def __init__(self, entries: Sequence[tuple[Sequence[InstancePhoto], int]]):
        self.entries = list(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> InstancePhoto:  # type: ignore[override]
        reader, position = self.entries[index]
        return reader[position]


def open_photos(recipe: DataRecipe, validation: bool) -> Photos:
    """The training or the validation photos of every source of the recipe."""
    compose = compose_config(recipe)
    root = Path(recipe.root).expanduser()
    readers: list = [
        CocoInstances(root / source["annotations"], root / source["images"], max_side=compose.cache_side)
        for source in recipe.coco
    ]
    for source in recipe.label_maps:
        names = json.loads((root / source["names"]).read_text())
        prefix = source.get("prefix", "labels")
        folders = root / source["images"], root / source["masks"]
        readers.append(LabelMaps(*folders, names, max_side=compose.cache_side, prefix=prefix))
    if not readers:
        raise RecipeError("the recipe names no data; give data.coco or data.label_maps")
    return Photos(
        [
            (reader, index)
            for reader in readers
            for index in range(len(reader))
            if is_validation(reader.photo_id(index), recipe.validation_percent) == validation
        ]
    )


def compose_config(recipe: DataRecipe) -> ComposeConfig:
    try:
        return ComposeConfig(**recipe.compose)
    except TypeError as error:
        raise RecipeError(f"data.compose: {error}") from None


@dataclass(frozen=True)
class Batch:
    """Model inputs, what should be answered, and the samples themselves for scoring and pictures."""

    inputs: ModelInputs
    targets: Targets
    samples: tuple[Sample, ...]


class Collator:
    """Samples to one batch, by the same processor as inference.

    `mask_stride`: 1 gives mask targets of the fine encoder's input size, n averages n x n of their pixels, which costs
    little where predictions are of a quarter of that size anyway.
    """

    def __init__(self, processor: InstructSegProcessor, stride: int = 4, mask_stride: int = 1):
        self.processor, self.mask_stride = processor, mask_stride
        self.cells = processor.image_processor.side // stride

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        inputs = self.processor(
            [sample.frames for sample in samples],
            [[expression.text for expression in sample.expressions] for sample in samples],
            [sample.task for sample in samples],
            [sample.key for sample in samples],
        )
        masks, valid = self._masks(samples, inputs.layout.asked.shape[1])
        regions, names, allowed = self._regions(samples)
        return Batch(inputs, Targets(masks, valid, regions, names, allowed), tuple(samples))

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

    def _regions(self, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel names of the batch: labels (batch, cells, cells), name ids, and which names may occur in which photo.

        Only names of a photo's own dataset compete for its pixels: another dataset's may be there unannotated.
        """
        datasets = [sample.id.split("/")[0] for sample in samples]
        owned = {(name, data) for sample, data in zip(samples, datasets, strict=True) for name in sample.region_names}
        pairs = [(BACKGROUND, ""), *sorted(owned)]
        index = {pair: position for position, pair in enumerate(pairs)}
        labels = torch.zeros(len(samples), self.cells, self.cells, dtype=torch.long)
        for row, (sample, data) in enumerate(zip(samples, datasets, strict=True)):
            if sample.regions is None:
                labels[row] = IGNORE
                continue
            table = np.array([index[name, data] for name in sample.region_names] + [0])
            labels[row] = torch.from_numpy(table[_nearest(sample.regions, self.cells)])
        allowed = torch.tensor([[owner in ("", data) for _, owner in pairs] for data in datasets])
        return labels, self._name_ids([name for name, _ in pairs]), allowed

    def _name_ids(self, names: Sequence[str]) -> Tensor:
        ids = [self.processor.tokenizer(f" {name}", add_special_tokens=False).input_ids for name in names]
        longest = max(map(len, ids))
        return torch.tensor([line + [-1] * (longest - len(line)) for line in ids])


def _nearest(labels: np.ndarray, cells: int) -> np.ndarray:
    """Labels at the centres of a cells x cells grid stretched over the photo."""
    rows, columns = (((np.arange(cells) + 0.5) * size / cells).astype(int) for size in labels.shape)
    return labels[rows[:, None], columns]


class TrainingBatches(Dataset):
    """Batch i of the run: samples i * size ... of the composer, so the position in the data is the step itself."""

    def __init__(self, composer: Composer, collate: Collator, batch_photos: int, first: int, steps: int):
        self.composer, self.collate, self.batch_photos = composer, collate, batch_photos
        self.first, self.steps = first, steps

    def __len__(self) -> int:
        return max(0, self.steps - self.first)

    def __getitem__(self, index: int) -> Batch:
        start = (self.first + index) * self.batch_photos
        return self.collate([self.composer.sample(0, start + offset) for offset in range(self.batch_photos)])
