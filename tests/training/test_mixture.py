"""Which source a step's batch comes from: exact shares at every moment, and nothing but the step decides."""

import numpy as np
import pytest
from torch.utils.data import DataLoader

from instructseg.training.data.batches import BatchShare, TrainingBatches, open_loader
from instructseg.training.data.mixture import Mixture, schedule_sources

PAPER = (4, 2, 4, 1, 3)  # the released ratios of RES, conversations, R-VOS, ReasonSeg and ReVOS


@pytest.mark.parametrize("seed", range(30))
def test_every_source_keeps_to_its_share_at_every_step(seed):
    rng = np.random.default_rng(seed)
    ratios = rng.uniform(0.05, 5, rng.integers(1, 9)).round(2).tolist()
    chosen = schedule_sources(ratios, 600)
    shares, steps = np.array(ratios) / sum(ratios), np.arange(1, 601)
    counts = np.cumsum(chosen[:, None] == np.arange(len(ratios)), axis=0)
    assert (np.abs(counts - steps[:, None] * shares) < 1).all()


def test_whole_cycles_are_exact():
    chosen = schedule_sources(PAPER, 14 * 20)
    for cycle in chosen.reshape(-1, 14):
        assert np.bincount(cycle).tolist() == list(PAPER)
    assert (chosen[:14] != np.sort(chosen[:14])).any(), "spread, not in blocks"
    assert (schedule_sources([0.4, 0.2, 0.4, 0.1, 0.3], 280) == chosen).all()


def test_a_longer_run_begins_like_a_shorter_one():
    assert (schedule_sources(PAPER, 1000)[:100] == schedule_sources(PAPER, 100)).all()
    assert schedule_sources([3.0], 5).tolist() == [0] * 5


class Count:
    def __init__(self, name):
        self.name = name

    def sample(self, index):
        return f"{self.name}{index}"


def mixture(steps=40, batch=4):
    return Mixture("abc", [Count(name) for name in "abc"], (3, 1, 2), batch, steps)


def test_no_sample_of_a_source_is_skipped_or_told_twice():
    mixed = mixture()
    told = [[mixed.sample(step, offset) for offset in range(4)] for step in range(40)]
    assert all(len({sample[0] for sample in batch}) == 1 for batch in told), "one source a batch"
    for name in "abc":
        mine = [sample for batch in told for sample in batch if sample.startswith(name)]
        assert mine == [f"{name}{index}" for index in range(len(mine))] and mine
    assert [batch[0][0] for batch in told] == [mixed.name(step) for step in range(40)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_and_processes_change_nothing(workers):
    whole = [[mixture().sample(step, offset) for offset in range(4)] for step in range(7, 20)]
    shares = [BatchShare(4, process, 2, 2) for process in range(2)]
    parts = [open_loader(TrainingBatches(mixture(), list, share, 7, 20), workers) for share in shares]
    assert all(isinstance(part, DataLoader) and len(part) == 13 for part in parts)
    joined = [[sample for own in step for piece in own for sample in piece] for step in zip(*parts, strict=True)]
    assert joined == whole
