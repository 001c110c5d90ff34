"""The catalogue's entries of clip datasets open what they describe, and a clip is checked as a whole."""

from dataclasses import replace

import clip_datasets
import numpy as np
import pytest

from instructseg.data.catalogue.videos import ENTRIES
from instructseg.data.check_clips import check_clip
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

BY_NAME = {entry.name: entry for entry in ENTRIES}


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_not_there_is_named(tmp_path, name):
    entry = BY_NAME[name]
    with pytest.raises(DataError, match=rf"expected .*{name}"):
        entry.open(tmp_path, entry.splits[0])
    (tmp_path / name).mkdir()
    for split in entry.splits:
        with pytest.raises(DataError, match=str(tmp_path / name)):
            entry.open(tmp_path, split)


def test_the_genuine_copy_lies_as_described(shared_data):
    entry, root = BY_NAME["davis2016"], shared_data / "data"
    assert all(any(root.glob(pattern)) for pattern in entry.layout)
    opened = {split: len(entry.open(root, split)) for split in entry.splits}
    assert opened == {"val": 14, "train": 1}, "of 20 and 30 that were published"
    assert len(BY_NAME["jhmdb_sentences"].open(root, "test")) == 928


def test_a_clip_with_fewer_masks_than_frames_is_refused():
    frames = [np.zeros((*clip_datasets.SIZE, 3), np.uint8)] * 3
    expression = Expression("the dog", None, id="4", masks=[np.ones(clip_datasets.SIZE, bool)] * 3)
    clip = Sample("toy/a", Task.RVOS, frames, (expression,))
    check_clip(clip)
    short = replace(clip, expressions=(replace(expression, masks=expression.masks[:2]),))
    with pytest.raises(DataError, match=r"clip toy/a, expression '4' \(the dog\): 2 masks for 3 frames"):
        check_clip(short)
