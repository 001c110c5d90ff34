"""Composed clips for scoring: painted rectangles show what is in every frame."""

import numpy as np
import pytest

from instructseg.errors import DataError
from instructseg.synthesis.validation_clips import CLIP_KINDS, FRAMES, ValidationClips
from instructseg.types import Instance, InstancePhoto, Task

PAINT = {"dog": (220, 20, 20), "zebra": (30, 170, 40), "kite": (30, 60, 220)}


def photo(photo_id, name, left):
    image = np.full((120, 160, 3), 128, np.uint8)
    mask = np.zeros((120, 160), bool)
    mask[40:75, left : left + 40] = True
    image[mask] = PAINT[name]
    return InstancePhoto(photo_id, image, (Instance(name, mask),))


PHOTOS = [photo(f"coco/{name}{left}", name, left) for name in PAINT for left in (20, 60, 90)]


@pytest.fixture(scope="module")
def clips():
    return ValidationClips(PHOTOS, count=20, size=160, seed=3)


def painted(frame, name):
    strongest = int(np.argmax(PAINT[name]))
    rest = np.delete(frame.astype(int), strongest, axis=2).max(2)
    return frame[..., strongest].astype(int) - rest > 60


def test_every_kind_in_turn_with_masks_in_every_frame(clips):
    assert len(clips) == 20
    for index, clip in enumerate(clips):
        assert clip.task is Task.RVOS and len(clip.frames) == FRAMES
        assert {each.kind for each in clip.expressions} == {CLIP_KINDS[index % 5]}
        for each in clip.expressions:
            assert len(each.masks) == FRAMES and each.masks[clip.key].any()
            assert (each.masks[clip.key] == each.mask).all()
            assert {mask.shape for mask in each.masks} == {clip.image.shape[:2]}


def test_masks_are_what_the_pixels_show(clips):
    for clip in clips:
        if clip.expressions[0].kind in ("entering", "leaving"):
            name = max(PAINT, key=lambda each: (painted(clip.image, each) & clip.expressions[0].mask).sum())
            for frame, mask in zip(clip.frames, clip.expressions[0].masks, strict=True):
                found = painted(frame, name)
                assert (found & mask).sum() >= 0.8 * (found | mask).sum()


def test_kinds_are_what_their_names_say(clips):
    for clip in clips:
        kind = clip.expressions[0].kind
        areas = [[int(mask.sum()) for mask in each.masks] for each in clip.expressions]
        if kind == "entering":
            assert areas[0][0] == 0 < areas[0][-1]
        elif kind == "leaving":
            assert areas[0][-1] == 0 < areas[0][0]
        elif kind == "covered":
            assert min(areas[0]) <= 0.4 * max(areas[0]) and max(areas[0][0], areas[0][-1]) > 0.8 * max(areas[0])
        else:
            apart = [np.argwhere(each.masks[at])[:, 1].mean() for each in clip.expressions for at in (0, -1)]
            assert (apart[1] - apart[0]) * (apart[3] - apart[2]) < 0, "to opposite sides"
            hidden = min(min(row) / max(row) for row in areas)
            assert hidden < 0.75 if kind == "crossing" else hidden > 0.85


def test_fixed_by_the_seed(clips):
    again, other = ValidationClips(PHOTOS, 20, 160, seed=3)[7], ValidationClips(PHOTOS, 20, 160, seed=4)[7]
    assert [each.text for each in again.expressions] == [each.text for each in clips[7].expressions]
    assert all((a == b).all() for a, b in zip(again.frames, clips[7].frames, strict=True))
    assert other.id == again.id and any((a != b).any() for a, b in zip(again.frames, other.frames, strict=False))
    assert clips[-1].id == clips[19].id
    with pytest.raises(IndexError):
        clips[20]


def test_photos_that_support_no_clip():
    empty = InstancePhoto("coco/none", np.zeros((60, 60, 3), np.uint8), ())
    with pytest.raises(DataError, match="countable instance"):
        ValidationClips([empty])
    with pytest.raises(DataError, match="too few instances"):
        ValidationClips(PHOTOS[:1], count=1, size=160)[0]
