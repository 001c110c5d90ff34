"""Lazy pictures and masks: equal to decoding everything, bounded, safe to share, honest about damage."""

import json
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import clip_datasets
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from instructseg.data.readers.clip_masks import ObjectMasks, RleMasks, object_numbers
from instructseg.data.readers.files import read_photo
from instructseg.data.readers.frames import LazyPictures, files_named, read_binary, read_labels
from instructseg.errors import DataError

NAMES = ["00000", "00005", "00010", "00015"]


@pytest.fixture
def paths(tmp_path):
    clip_datasets.write_frames(tmp_path, NAMES, ".png")
    return [tmp_path / f"{name}.png" for name in NAMES]


def test_pictures_are_those_of_the_files_in_any_order(paths):
    clip = LazyPictures(paths, keep=2)
    assert len(clip) == 4 and clip.size == clip_datasets.SIZE
    for place in (0, 3, 3, -1, 1, 0, 2, -4):
        assert np.array_equal(clip[place], np.asarray(Image.open(paths[place]).convert("RGB")))
    assert [int(frame[0, 0, 0]) for frame in clip] == [0, 10, 20, 30]
    assert [int(frame[0, 0, 0]) for frame in clip[1:3]] == [10, 20] and isinstance(clip[::-1], LazyPictures)
    with pytest.raises(IndexError):
        clip[4]


def counting(path):
    COUNTS[path.name] = COUNTS.get(path.name, 0) + 1
    return read_photo(path)


COUNTS: dict[str, int] = {}


def test_the_last_pictures_are_kept_and_no_more(paths):
    COUNTS.clear()
    clip = LazyPictures(paths, counting, keep=2)
    assert COUNTS == {}
    for place in (0, 1, 0, 1, 0, 2, 0, 1):  # 2 pushes 1 out, which was used longest ago
        clip[place]
    assert COUNTS == {"00000.png": 1, "00005.png": 2, "00010.png": 1}
    assert len(clip._recent) == 2


def test_kept_pictures_cannot_be_changed_by_accident(paths):
    clip_datasets.write_labels(paths[0], np.ones(clip_datasets.SIZE))
    for decode in (read_photo, read_labels, read_binary):
        with pytest.raises(ValueError, match="read-only"):
            LazyPictures(paths[:1], decode)[0][:] = 1


def mean_of(clip):
    return [float(frame.mean()) for frame in clip]


def test_threads_and_processes_may_share_a_clip(paths):
    clip = LazyPictures(paths, keep=1)
    expected = mean_of(clip)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(mean_of, [clip] * 8)) == [expected] * 8
    sent = pickle.dumps(clip)
    assert len(sent) < 2000, "decoded pictures stay behind"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(mean_of, [pickle.loads(sent)]) == [expected]


def test_frames_of_another_size_missing_and_damaged_files_are_named(paths):
    clip = LazyPictures(paths)
    Image.new("RGB", (10, 24)).save(paths[1])
    with pytest.raises(DataError, match=r"00005\.png is 10 x 24 pixels, but its clip is 32 x 24"):
        clip[1]
    whole = paths[2].read_bytes()
    for damaged in (whole[:-30], whole[:20], b"", b"GIF89a", whole[:40] + b"\0\0\0\0" + whole[44:]):
        paths[2].write_bytes(damaged)
        with pytest.raises(DataError, match=r"00010\.png: the file is (a damaged|truncated|empty|not a readable)"):
            clip[2]
    paths[3].unlink()
    with pytest.raises(DataError, match=r"00015\.png is missing"):
        clip[3]
    with pytest.raises(DataError, match=r"00015\.png is missing \(1 of the 4 files that list\.json lists\)"):
        files_named(paths[0].parent, NAMES, ".png", "list.json")
    with pytest.raises(DataError, match="nowhere cannot be read"):
        files_named(paths[0].parent / "nowhere", NAMES, ".png", "list.json")


@pytest.mark.parametrize("mode", ["P", "L", "LA", "1"])
def test_label_maps_of_every_mode_datasets_use(tmp_path, mode):
    labels = (np.arange(24 * 32).reshape(24, 32) % 3).astype(np.uint8)
    if mode == "P":
        clip_datasets.write_labels(tmp_path / "a.png", labels)
    else:
        labels = labels if mode != "1" else labels > 0
        picture = Image.fromarray(labels)
        if mode == "LA":
            picture = Image.merge("LA", [picture, Image.new("L", picture.size, 255)])
        picture.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == mode
    found = read_labels(tmp_path / "a.png")
    assert found.dtype == np.uint8 and np.array_equal(found, labels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "LA"])
def test_label_maps_that_lost_their_numbers_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4), 9 if mode == "I;16" else (9,) * len(mode)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png is a PNG of mode {mode}, expected mode P"):
        read_labels(tmp_path / "a.png")


def test_masks_of_one_object(tmp_path):
    Image.fromarray(np.array([[0, 255], [0, 0]], np.uint8)).save(tmp_path / "a.png")
    assert read_binary(tmp_path / "a.png").tolist() == [[False, True], [False, False]]
    Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png has the non-zero values \[1, 2\]"):
        read_binary(tmp_path / "a.png")


def test_objects_of_label_maps(tmp_path):
    maps = clip_datasets.label_maps(4)
    maps[0][0, 0] = 255
    for place, labels in enumerate(maps):
        clip_datasets.write_labels(tmp_path / f"{place}.png", labels)
    lazy = LazyPictures([tmp_path / "0.png", None, tmp_path / "2.png", tmp_path / "3.png"], read_labels)
    masks = ObjectMasks(lazy, 1)
    assert len(masks) == 4 and masks[1] is None
    assert np.array_equal(masks[0], maps[0] == 1) and np.array_equal(masks[2], maps[2] == 1) and not masks[3].any()
    assert [mask is None for mask in masks[1:3]] == [True, False]
    assert object_numbers(lazy) == {1, 2}, "neither background nor void"


def test_unions_of_run_length_codes():
    first, second = (np.random.default_rng(seed).random((2, *clip_datasets.SIZE)) < 0.3 for seed in (1, 2))
    rle = clip_datasets.rle
    codes = [[rle(first[0]), None, None], [rle(second[0]), rle(second[1]), None]]
    masks = RleMasks(codes, 3, clip_datasets.SIZE, "mask_dict.json")
    assert np.array_equal(masks[0], first[0] | second[0]) and np.array_equal(masks[1], second[1])
    assert masks[-1].shape == clip_datasets.SIZE and not masks[2].any()
    assert [mask.any() for mask in masks[1:]] == [True, False]
    nothing = RleMasks([], 3, clip_datasets.SIZE, "mask_dict.json")
    assert len(list(nothing)) == 3 and not any(mask.any() for mask in nothing)
    small = RleMasks([[clip_datasets.rle(np.ones((3, 4), bool))]], 1, clip_datasets.SIZE, "mask_dict.json")
    with pytest.raises(DataError, match=r"mask_dict\.json, frame 0: the mask is 4 x 3 pixels, but the clip is 32 x 24"):
        small[0]
    for code in ({"size": [24, 32], "counts": [5]}, {"size": [24, 32], "counts": "#"}, [], {"counts": "1"}):
        with pytest.raises(DataError, match=r"mask_dict\.json, frame 0: "):
            RleMasks([[code]], 1, clip_datasets.SIZE, "mask_dict.json")[0]


def test_genuine_masklets(shared_data):
    """SA-V's example: codes of 121 frames and five objects, against pycocotools."""
    path = shared_data / "data" / "sav_example" / "sav_000001_manual.json"
    masklets = json.loads(path.read_text())["masklet"]
    codes = [[frame[at] for frame in masklets] for at in range(5)]
    masks = RleMasks(codes, len(masklets), (848, 480), path)
    assert len(masks) == 121
    for place in (0, 30, 120):
        union = np.any([coco_mask.decode(code) for code in masklets[place]], axis=0)
        assert np.array_equal(masks[place], union) and union.any()
