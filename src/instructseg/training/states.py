"""Stored states: the outputs of the frozen parts for composed samples, cached on disk.

The encoders, the seed proposals and the language model take most of the time of a training step. While they are frozen,
their outputs for a sample do not change, so they are computed once and read many times.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from instructseg.errors import CheckpointError
from instructseg.media.files import new_file
from instructseg.model.boxes import Boxes
from instructseg.model.modeling import InstructSegModel
from instructseg.model.outputs import LanguageModelOutput, VisualFeatures, require
from instructseg.model.seeds import Seeds
from instructseg.model.segmentation_decoder import PixelFeatures
from instructseg.model.targets import LossNormalizers, Targets
from instructseg.training.data.collate import Batch, Collator
from instructseg.training.data.mixture import Mixture
from instructseg.training.data.sources import ShuffledIndices

SEED_FIELDS = ("boxes", "scores", "classes", "valid", "cells")


@dataclass(frozen=True)
class SampleStates:
    """The frozen parts' output for one sample: `visual` without visual tokens, `hidden` without `hidden_states`."""

    visual: VisualFeatures
    hidden: LanguageModelOutput

    def to(self, device: torch.device | str) -> SampleStates:
        """The states on a device."""
        tensors = {name: tensor.to(device) for name, tensor in _tensors(self).items()}
        return _states(tensors)


@dataclass(frozen=True)
class StateBatch:
    """The states and targets of one sample; the interface of `collate.Batch`."""

    inputs: SampleStates
    targets: Targets
    names: tuple[str, ...]

    @property
    def normalizers(self) -> LossNormalizers:
        """Per-batch normalizers of the loss terms."""
        return LossNormalizers.of(self.targets, torch.ones(self.targets.valid.shape[:2], dtype=torch.bool))


@torch.no_grad()
def encode_states(model: InstructSegModel, batch: Batch) -> SampleStates:
    """The states of a batch of one sample."""
    inputs = batch.inputs
    visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values, batch=len(inputs.reference_index))
    references = model.perceive(visual, inputs.layout, inputs.reference_index)
    hidden = model.reason(inputs.layout, visual, references)
    return SampleStates(replace(visual, tokens=None), replace(hidden, hidden_states=hidden.word_embeddings[:, :0]))


def save_states(path: Path, states: SampleStates, targets: Targets) -> None:
    """Write a sample's states, as float16, and its targets, one byte per cell."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in _tensors(states).items()
    }
    tensors |= {"targets.masks": (targets.masks > 0.5).to(torch.uint8), "targets.valid": targets.valid}
    with new_file(path) as unfinished:
        save_file(tensors, unfinished)


def load_states(path: Path) -> StateBatch:
    """The states and targets that `save_states` wrote, as float32. Raises CheckpointError if they cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}; delete it, the next start writes it again") from error
    wide = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    try:
        targets = Targets(wide["targets.masks"].float(), wide["targets.valid"])
        return StateBatch(_states(wide), targets, (path.stem,))
    except KeyError as error:
        raise CheckpointError(f"{path} has no tensor {error}; delete it, the next start writes it again") from error


class StateFolder:
    """A folder with the states of samples 0 to `count` - 1 of a mixture; those that are missing are computed."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def path(self, index: int) -> Path:
        """The file of a sample."""
        return self.folder / f"{index:06d}.safetensors"

    def missing(self) -> list[int]:
        """The samples without states, by one listing of the folder."""
        names = set(os.listdir(self.folder)) if self.folder.is_dir() else set()
        return [index for index in range(self.count) if self.path(index).name not in names]

    def fill(
        self, missing: Sequence[int], model: InstructSegModel, mixture: Mixture, collate: Collator,
        progress: Callable[[int], None],
    ) -> None:  # fmt: skip
        """Compute the states that are `missing`, in eval mode; `progress` gets the number of samples done of all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        training = model.training
        model.eval()
        progress(self.count - len(missing))
        for left, index in enumerate(missing, start=1 - len(missing)):
            batch = collate([mixture.sample(index, 0)])
            assert batch.targets is not None
            save_states(self.path(index), encode_states(model, batch), batch.targets)
            progress(self.count + left)
        model.train(training)


class StoredStates:
    """The stored samples of each step, reshuffled in every pass; the interface of `Mixture` and `Collator`."""

    def __init__(self, folder: StateFolder, batch: int, seed: int) -> None:
        self.folder, self.batch, self.order = folder, batch, ShuffledIndices(folder.count, seed)

    def sample(self, step: int, offset: int) -> Path:
        """The file of a sample."""
        return self.folder.path(self.order[step * self.batch + offset])

    def collate(self, files: Sequence[Path]) -> StateBatch:
        """The states of one sample; their sizes differ, so that a micro-batch has one sample."""
        (file,) = files
        return load_states(file)


def _tensors(states: SampleStates) -> dict[str, Tensor]:
    """All tensors of a sample's states by name."""
    visual, hidden = states.visual, states.hidden
    pixels, seeds = require(visual.pixels, "pixels"), require(visual.seeds, "seeds")
    assert hidden.word_inputs is not None
    named = {
        "coarsest": require(visual.coarsest, "coarsest"), "mask_features": pixels.mask_features,
        "seeds.features": seeds.features, "seeds.mask_logits": seeds.mask_logits,
        "seeds.probabilities": seeds.probabilities, "seeds.words": seeds.words,
        "mask_embeddings": hidden.mask_embeddings, "word_embeddings": hidden.word_embeddings,
        "word_mask": hidden.word_mask, "word_inputs": hidden.word_inputs,
    }  # fmt: skip
    named |= {f"levels.{index}": level for index, level in enumerate(pixels.levels)}
    return named | {f"seeds.boxes.{name}": getattr(seeds.boxes, name) for name in SEED_FIELDS}


def _states(tensors: dict[str, Tensor]) -> SampleStates:
    """The states of the tensors that `_tensors` lists."""
    boxes = Boxes(**{name: tensors[f"seeds.boxes.{name}"] for name in SEED_FIELDS})
    seeds = Seeds(boxes, *(tensors[f"seeds.{name}"] for name in ("features", "mask_logits", "probabilities", "words")))
    levels: Sequence[str] = sorted(name for name in tensors if name.startswith("levels."))
    pixels = PixelFeatures(tensors["mask_features"], tuple(tensors[name] for name in levels))
    words = tensors["word_embeddings"]
    hidden = LanguageModelOutput(
        words[:, :0], tensors["mask_embeddings"], words, tensors["word_mask"], tensors["word_inputs"]
    )
    return SampleStates(VisualFeatures(None, tensors["coarsest"], pixels, seeds), hidden)
