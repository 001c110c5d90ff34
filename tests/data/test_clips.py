"""Training samples from clips: which frames, which expressions, and what the trainer's batches make of them."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_model
import torch

from instructseg.data.clip_sampling import ClipSampler, draw_clip, draw_frames, resize_mask
from instructseg.data.readers.davis2016 import Davis2016
from instructseg.errors import DataError
from instructseg.model.processing import InstructSegProcessor
from instructseg.training.data.collate import Collator
from instructseg.types import Expression, Sample, Task

SIZE = (40, 56)


def clip_of(*shown, frames=12, annotated=None, name="toy/a"):
    """A clip whose frame t is of gray t, with an expression for each set of frames that show its target."""

    def mask(at, places):
        if annotated is not None and at not in annotated:
            return None
        picture = np.zeros(SIZE, bool)
        picture[5:30, 5 : 10 + at] = at in places
        return picture

    pictures = [np.full((*SIZE, 3), at, np.uint8) for at in range(frames)]
    expressions = tuple(
        Expression("the dog", None, id=str(number), masks=[mask(at, places) for at in range(frames)])
        for number, places in enumerate(shown)
    )
    names = tuple(f"{at:05d}" for at in range(frames))
    return Sample(name, Task.RVOS, pictures, expressions, frame_names=names)


def draws(clip, count=200, **options):
    return [draw_clip(clip, np.random.default_rng(seed), **options) for seed in range(count)]


def test_frames_lie_around_the_key_frame_without_repetition():
    backwards, spreads = 0, []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        key = int(rng.integers(60))
        places = draw_frames(60, key, 4, rng)
        assert len(set(places)) == 5 and key in places and min(places) >= 0 and max(places) < 60
        assert places == sorted(places) or places == sorted(places)[::-1]
        backwards += places[0] > places[-1]
        if 2 <= key < 58:
            assert places[2] == key, "in the middle as far as the ends allow"
            assert max(abs(place - key) for place in places) <= 2 * 9
            spreads.append(max(places) - min(places))
    assert 0.24 < backwards / 400 < 0.36, "three in ten run backwards"
    assert min(spreads) < 8 and max(spreads) > 24, "near and far"


@pytest.mark.parametrize(("length", "references", "expected"), [(1, 4, 1), (3, 4, 3), (5, 4, 5), (9, 0, 1), (9, 8, 9)])
def test_short_clips_give_what_they_have(length, references, expected):
    for key in range(length):
        assert len(set(draw_frames(length, key, references, np.random.default_rng(key)))) == expected


def test_the_key_frame_shows_the_target_and_is_annotated():
    for sample in draws(clip_of({4}, frames=12), empty_share=0):
        assert sample.frame_names[sample.key] == "00004" and sample.image[0, 0, 0] == 4
        assert sample.expressions[0].mask.any() and len(sample.frames) == 5
    annotated = {0, 5, 10}
    keys = [int(sample.frame_names[sample.key]) for sample in draws(clip_of({5, 7}, annotated=annotated))]
    assert set(keys) == annotated, "a share has a key frame without the target, but never one without a mask"
    assert 0.85 < keys.count(5) / len(keys) < 0.99


def test_masks_are_those_of_the_key_frame():
    clip = clip_of(set(range(12)), {2})
    for sample in draws(clip, 50):
        key = int(sample.frame_names[sample.key])
        assert [int(frame[0, 0, 0]) for frame in sample.frames] == [int(name) for name in sample.frame_names]
        for expression in sample.expressions:
            truth = clip.expressions[int(expression.id)].masks[key]
            assert np.array_equal(expression.mask, truth) if truth.any() else expression.mask is None
            assert expression.masks is None


def test_every_expression_takes_its_turn_first_and_their_number_is_bounded():
    sets = [set(range(12))] * 3
    first = [sample.expressions[0].id for sample in draws(clip_of(*sets), expressions=2)]
    assert all(40 < first.count(number) < 95 for number in "012")
    assert {len(sample.expressions) for sample in draws(clip_of(*sets), 20, expressions=2)} == {2}
    assert {len(sample.expressions) for sample in draws(clip_of(*sets), 20, expressions=9)} == {3}


def test_expressions_without_a_target_are_drawn_too():
    clip = clip_of(set())
    absent = replace(clip.expressions[0], text="the cat", details={"objects": []})
    nothing = replace(clip, expressions=(absent,))
    assert draw_clip(nothing, np.random.default_rng(0), empty_share=0).expressions[0].mask is None


def test_samples_without_a_target_can_be_left_out():
    """As in the released code: neither expressions without an object, nor key frames that do not show it."""
    clip = clip_of({4}, {4, 7}, set())
    absent = replace(clip.expressions[2], details={"objects": []})
    clips = [replace(clip, id="toy/both", expressions=(absent, *clip.expressions[:2])),
             replace(clip, id="toy/none", expressions=(absent,))]  # fmt: skip
    kinds = {}
    for no_target in (True, False):
        sampler = ClipSampler(clips, empty_share=0.5, expressions=2, no_target=no_target)
        samples = [sampler.sample(0, index) for index in range(40)]
        kinds[no_target] = {each.mask is None for sample in samples for each in sample.expressions}
    assert kinds == {True: {True, False}, False: {False}}
    assert {sample.id.split("#")[0] for sample in samples} == {"toy/both"}
    assert {len(sample.expressions) for sample in samples} == {1, 2}
    with pytest.raises(DataError, match="expected clips with a target, got expressions without one alone"):
        ClipSampler(clips[1:], no_target=False).sample(0, 0)


def test_clips_that_cannot_teach_are_refused():
    with pytest.raises(DataError, match=r"clip toy/a: no annotated frame shows .* such as '0' \(the dog\)"):
        draw_clip(clip_of(set()), np.random.default_rng(0), empty_share=0)
    hidden = Sample("toy/h", Task.RVOS, clip_of().frames, (Expression("the dog", None),))
    with pytest.raises(DataError, match="clip toy/h has no public masks"):
        draw_clip(hidden, np.random.default_rng(0))
    with pytest.raises(DataError, match="at least one annotated clip"):
        ClipSampler([])


def test_samples_depend_on_seed_epoch_and_index_only():
    clips = [clip_of(set(range(12)), name=f"toy/{name}") for name in "abcde"]
    sampler = ClipSampler(clips, seed=3)

    def told(sample):
        return sample.id, sample.frame_names, sample.key, [each.id for each in sample.expressions]

    forward = [told(sampler.sample(0, index)) for index in range(10)]
    again = [told(ClipSampler(clips, seed=3).sample(0, index)) for index in reversed(range(10))]
    assert forward == again[::-1]
    first, second = ([name.split("#")[0] for name, *_ in turn] for turn in (forward[:5], forward[5:]))
    assert sorted(first) == sorted(second) == [f"toy/{name}" for name in "abcde"] and first != second
    assert forward != [told(ClipSampler(clips, seed=4).sample(0, index)) for index in range(10)]
    assert forward != [told(sampler.sample(1, index)) for index in range(10)]


def test_the_trainer_takes_drawn_clips_as_they_are():
    processor = InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer())
    clips = [clip_of(set(range(12)), {1}, name="toy/a"), clip_of({3}, frames=2 + 2, name="toy/b")]
    sampler = ClipSampler(clips, empty_share=0)
    batch = Collator(processor)([sampler.sample(0, index) for index in range(2)])
    inputs, image_processor = batch.inputs, processor.image_processor
    for row, sample in enumerate(batch.samples):
        assert torch.equal(inputs.pixel_values[row], image_processor.prepare(sample.image))
        references = inputs.reference_index[row][inputs.reference_index[row] >= 0].tolist()
        assert len(references) == len(sample.frames) - 1
        for place, frame in zip(references, sample.references, strict=True):
            assert torch.equal(inputs.clip_pixel_values[place], image_processor.prepare_clip(frame))
        for column, expression in enumerate(sample.expressions):
            assert bool(batch.targets.valid[row, column, 0]) == (expression.mask is not None)
            if expression.mask is not None:
                expected = image_processor.prepare_mask(expression.mask)
                assert torch.equal(batch.targets.masks[row, column, 0], expected) and expected.any()


@pytest.mark.parametrize("size", [(240, 428), (31, 57), (960, 1708)])
def test_a_mask_at_another_size_takes_the_nearest_pixels(size):
    mask = np.random.default_rng(0).random((480, 854)) < 0.5
    sides = zip(size, mask.shape, strict=True)
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in sides)
    assert np.array_equal(resize_mask(mask, size), mask[rows[:, None], columns])
    assert resize_mask(mask, mask.shape) is mask


def test_genuine_clips_become_batches(shared_data):
    reader = Davis2016(shared_data / "data" / "davis2016", "val")
    processor = InstructSegProcessor.for_config(tiny_model.config(), tiny_model.tokenizer())
    sample = ClipSampler(reader, empty_share=0).sample(0, 0)
    assert sample.image.shape[:2] == sample.expressions[0].mask.shape == (240, 428)
    batch = Collator(processor)([sample])
    assert batch.targets.valid[0, :, 0].all() and batch.inputs.reference_index.shape == (1, 4)
