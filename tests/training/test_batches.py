"""From samples to batches: targets lie where the processor puts the photo, names compete within their dataset."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import painted_world
import pytest
import tiny_model
import torch

from instructseg.errors import RecipeError
from instructseg.model.processing import InstructSegProcessor
from instructseg.training.data.batches import BatchShare, TrainingBatches
from instructseg.training.data.collate import BACKGROUND, Collator
from instructseg.training.data.photos import SelectedPhotos, compose_config, open_photos
from instructseg.training.recipe import DataRecipe
from instructseg.types import Expression, Sample, Task


@pytest.fixture(scope="module", params=["pad", "stretch"])
def collate(request):
    return Collator(InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize=request.param))


def sample(name, height, width, masks, seed=0, **changes):
    expressions = tuple(Expression("the dog" if mask is None else "the red cup", mask) for mask in masks)
    photo, dataset = tiny_model.photo(height, width, seed), name.split("/")[0]
    return Sample(name, Task.RES, (photo,), expressions, dataset=dataset, **changes)


def corner(height, width):
    mask = np.zeros((height, width), bool)
    mask[: height // 2, : width // 2] = True
    return mask


def test_targets_are_the_prepared_masks(collate):
    regions = np.full((40, 80), -1, np.int16)
    regions[:, 40:] = 0
    first = sample("coco/1", 40, 80, [corner(40, 80), None], regions=regions, region_names=("cup",))
    second = sample("ccp/2", 60, 30, [corner(60, 30)], seed=1)
    batch = collate([first, second])
    targets, processor = batch.targets, collate.processor.image_processor
    assert targets.masks.shape == (2, 2, 1, 64, 64)
    assert torch.equal(targets.masks[0, 0, 0], processor.prepare_mask(corner(40, 80)))
    assert torch.equal(targets.masks[1, 0, 0], processor.prepare_mask(corner(60, 30)))
    assert targets.valid[..., 0].tolist() == [[True, False], [True, False]]
    assert batch.inputs.layout.expression_mask.tolist() == [[True, True], [True, False]]
    assert batch.samples == (first, second)
    alone = tiny_model.prepare(collate.processor, ([first.image], ["the red cup", "the dog"]))
    assert torch.equal(batch.inputs.pixel_values[0], alone.pixel_values[0])


def test_a_mask_too_small_to_be_seen_is_no_target(collate):
    speck = np.zeros((900, 900), bool)
    speck[1, 1] = True
    valid = collate([sample("coco/1", 900, 900, [speck, corner(900, 900)])]).targets.valid
    assert valid[0, :, 0].tolist() == [False, True]


def test_the_masks_of_a_clip_belong_to_its_key_frame():
    collate = Collator(InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer()))
    frames = tuple(tiny_model.photo(seed=seed) for seed in range(3))
    clip = Sample("coco/1", Task.RVOS, frames, (Expression("the dog", corner(40, 56)),), key=1)
    inputs = collate([clip]).inputs
    assert torch.equal(inputs.pixel_values[0], collate.processor.image_processor.prepare(frames[1]))
    assert inputs.reference_index.tolist() == [[1, 2]]


def test_where_answers_are_in_the_reference_frames():
    """A clip's other frames in their order, -1 where nobody said; a photo is its own reference."""
    processor = InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize="stretch")
    frames = tuple(tiny_model.photo(seed=seed) for seed in range(3))
    here, gone = corner(40, 56), np.zeros((40, 56), bool)
    told = (Expression("the dog", here, masks=(gone, here, here)), Expression("the cat", here), Expression("it", None))
    clip = Sample("coco/1", Task.RVOS, frames, told, key=1)
    located = Collator(processor, location_cells=4)([clip]).targets.localization
    assert located.shape == (1, 3, 2, 4, 4)
    assert not located[0, 0, 0].any(), "known not to be in the first frame"
    expected = processor.image_processor.prepare_mask(here).float().unflatten(1, (4, -1)).unflatten(0, (4, -1))
    torch.testing.assert_close(located[0, 0, 1], expected.mean((1, 3)))
    assert (located[0, 1:] == -1).all()
    photo = Sample("coco/2", Task.RES, frames[:1], told[1:])
    still = Collator(processor, location_cells=4)([photo]).targets.localization
    assert still.shape == (1, 2, 1, 4, 4)
    torch.testing.assert_close(still[0, 0, 0], expected.mean((1, 3)))
    assert not still[0, 1].any(), "what is not in a photo is nowhere in it"
    assert Collator(processor)([clip]).targets.localization is None


def test_names_of_pixels():
    collate = Collator(InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer(), resize="stretch"))
    regions = np.full((64, 64), -1, np.int16)
    regions[:, 32:], regions[32:, :32] = 0, 1
    first = sample("coco/1", 64, 64, [corner(64, 64)], regions=regions, region_names=("cup", "dog"))
    second = sample("ccp/2", 64, 64, [corner(64, 64)], regions=np.zeros((64, 64), np.int16), region_names=("red cup",))
    third = sample("web/3", 64, 64, [corner(64, 64)])
    targets = collate([first, second, third]).targets
    words = collate.processor.tokenizer
    names = [" ".join(words.convert_ids_to_tokens(row[row >= 0].tolist())) for row in targets.name_ids]
    assert names[0] == BACKGROUND and sorted(names[1:]) == ["cup", "dog", "red cup"]
    labels = np.array([*names, "unknown"])[np.where(targets.regions < 0, len(names), targets.regions)]
    assert labels.shape == (3, 16, 16)
    assert (labels[0, :, 8:] == "cup").all() and (labels[0, 8:, :8] == "dog").all()
    assert (labels[0, :8, :8] == BACKGROUND).all()
    assert (labels[1] == "red cup").all() and (labels[2] == "unknown").all()
    allowed = [{name for name, yes in zip(names, row, strict=True) if yes} for row in targets.names_allowed.tolist()]
    assert allowed == [{BACKGROUND, "cup", "dog"}, {BACKGROUND, "red cup"}, {BACKGROUND}]


def test_one_name_of_two_datasets_is_two_names():
    """A dog of one dataset does not compete for the pixels of a dataset that never looked for dogs."""
    collate = Collator(InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer()))
    regions = np.zeros((40, 56), np.int16)
    samples = [
        sample(f"{data}/1", 40, 56, [corner(40, 56)], regions=regions, region_names=("dog",)) for data in ("a", "b")
    ]
    targets = collate(samples).targets
    assert targets.names_allowed.sum().item() == 4 and len(targets.name_ids) == 3


class Numbers:
    """A mixture whose samples only say which they are."""

    def sample(self, step, offset):
        return (step, offset)


def test_the_place_in_the_data_is_the_step():
    share = BatchShare(batch=3)
    batches = TrainingBatches(Numbers(), list, share, first=0, steps=5)
    assert len(batches) == 5
    rest = TrainingBatches(Numbers(), list, share, first=2, steps=5)
    assert len(rest) == 3 and [rest[at] for at in range(3)] == [batches[at] for at in (2, 3, 4)]
    assert batches[4] == ([(4, 0), (4, 1), (4, 2)],)
    assert len(TrainingBatches(Numbers(), list, share, first=9, steps=5)) == 0


@pytest.mark.parametrize("processes, pieces", [(1, 1), (1, 4), (2, 1), (2, 3), (3, 2), (12, 1)])
def test_processes_and_pieces_share_a_batch_without_gap_or_overlap(processes, pieces):
    shares = [BatchShare(12, process, processes, pieces) for process in range(processes)]
    drawn = [TrainingBatches(Numbers(), list, share, 0, 1)[0] for share in shares]
    assert all(len(own) == pieces and len({len(piece) for piece in own}) == 1 for own in drawn)
    assert [offset for own in drawn for piece in own for _, offset in piece] == list(range(12))


def test_a_batch_that_cannot_be_shared_evenly():
    with pytest.raises(
        RecipeError, match=r"batch_photos: expected a multiple of 4 \(2 processes, accumulate 2\), got 6"
    ):
        BatchShare(6, processes=2, micro_batches=2)


def test_photos_of_several_readers():
    photos = SelectedPhotos([("abc", 2), ("xy", 0)])
    assert len(photos) == 2 and list(photos) == ["c", "x"]


def test_recipes_that_name_no_data_or_unknown_settings():
    with pytest.raises(RecipeError, match=r"has no data; set data\.coco"):
        open_photos(DataRecipe(), validation=False)
    with pytest.raises(RecipeError, match=r"data\.compose: .*'sise'"):
        compose_config(DataRecipe(compose={"sise": 3}))


def test_coarser_targets_are_averages_of_the_fine_ones(collate):
    masks = [corner(45, 57), corner(23, 80)]
    fine = collate([sample("coco/1", 45, 57, masks[:1]), sample("coco/2", 23, 80, masks[1:])]).targets.masks.float()
    coarse = Collator(collate.processor, mask_stride=2)(
        [sample("coco/1", 45, 57, masks[:1]), sample("coco/2", 23, 80, masks[1:])]
    ).targets.masks
    assert coarse.shape == (2, 1, 1, 32, 32)
    assert torch.equal(coarse, fine.unflatten(-1, (32, 2)).unflatten(-3, (32, 2)).mean((-1, -3)))


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from torch.utils.data import Dataset
from instructseg.training.data.batches import open_loader

class Large(Dataset):
    def __len__(self): return 100
    def __getitem__(self, index): return (torch.zeros(10_000_000), os.getpid())

loader = iter(open_loader(Large(), 1))
Path(sys.argv[1]).write_text(str(next(loader)[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends a process with its parent")
def test_a_killed_run_leaves_no_worker(tmp_path):
    """Not by its pipes, which would wait for the worker's end."""
    command, told = [sys.executable, "-c", KILLED, str(tmp_path / "worker")], subprocess.DEVNULL
    subprocess.run(command, env=painted_world.environment(), stdout=told, stderr=told, timeout=200)
    status = Path("/proc") / (tmp_path / "worker").read_text() / "status"
    time.sleep(1)  # left to itself a worker looks for its parent every 5 s, and may wait for ever for a full queue
    assert not status.exists() or "(zombie)" in status.read_text()
