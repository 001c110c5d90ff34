"""Composed samples of a small painted world: every noun has its own paint, so pixels show what is true."""

import re

import numpy as np
import pytest

from instructseg.errors import DataError, InputError
from instructseg.synthesis.composer import ComposeConfig, Composer, validation_set
from instructseg.synthesis.cutouts import cut_out, paste
from instructseg.synthesis.pixels import View, crop_scene, store_photo
from instructseg.types import Instance, InstancePhoto, Task

PAINT = {"dog": (220, 20, 20), "zebra": (30, 170, 40), "kite": (30, 60, 220), "clock": (230, 210, 30)}
OTHER = {"hat": (220, 20, 20), "skirt": (30, 60, 220), "boots": (30, 170, 40)}


def painted(photo_id, paint, seed, height=120, width=160):
    rng = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128, np.uint8)
    taken = np.zeros((height, width), bool)
    instances = []
    for _ in range(rng.integers(2, 6)):
        name = list(paint)[rng.integers(len(paint))]
        y, x = int(rng.integers(3, height - 45)), int(rng.integers(3, width - 45))
        mask = np.zeros((height, width), bool)
        mask[y : y + int(rng.integers(26, 40)), x : x + int(rng.integers(26, 40))] = True
        if not (mask & taken).any():
            taken |= mask
            image[mask] = paint[name]
            instances.append(Instance(name, mask))
    return InstancePhoto(photo_id, image, tuple(instances), dataset=photo_id.split("/")[0])


COCO = [painted(f"coco/{seed}", PAINT, seed) for seed in range(12)]
PHOTOS = COCO + [painted(f"ccp/{seed}", OTHER, seed, 160, 100) for seed in range(8)]
CONFIG = ComposeConfig(size=160)


@pytest.fixture(scope="module")
def composer():
    return Composer(PHOTOS, CONFIG, seed=3)


@pytest.fixture(scope="module")
def samples(composer):
    return [composer.sample(0, index) for index in range(120)]


def same(first, second):
    return (
        (first.id, first.task, first.key, first.region_names)
        == (second.id, second.task, second.key, second.region_names)
        and all(map(np.array_equal, first.frames, second.frames))
        and [each.text for each in first.expressions] == [each.text for each in second.expressions]
        and all(
            np.array_equal(one.mask, other.mask) if one.mask is not None else other.mask is None
            for one, other in zip(first.expressions, second.expressions, strict=True)
        )
    )


def test_samples_depend_on_seed_epoch_and_index_only(composer, samples):
    again = Composer(PHOTOS, CONFIG, seed=3)
    assert same(again.sample(0, 7), samples[7]) and same(composer.sample(0, 7), samples[7])
    assert not same(composer.sample(1, 7), samples[7])
    assert not same(Composer(PHOTOS, CONFIG, seed=4).sample(0, 7), samples[7])
    assert same(again.video(0, 3), composer.video(0, 3))


def test_samples_are_whole(samples):
    for sample in samples:
        assert sample.task in (Task.RES, Task.REASON_SEG) and len(sample.frames) == 1
        assert sample.image.dtype == np.uint8 and max(sample.image.shape[:2]) == 160
        assert sample.regions.dtype == np.int16 and sample.regions.shape == sample.image.shape[:2]
        assert sample.regions.min() >= -1 and sample.regions.max() < len(sample.region_names)
        assert 1 <= len(sample.expressions) <= 8
        for each in sample.expressions:
            assert each.text and (each.kind == "absent") == (each.mask is None)
            if each.mask is not None:
                assert each.mask.dtype == bool and each.mask.shape == sample.image.shape[:2]
                assert each.area >= CONFIG.min_area
    kinds = {each.kind for sample in samples for each in sample.expressions}
    assert kinds == {"unique", "position", "size", "relation", "color", "plural", "absent", "function"}


def hue_is(image, mask, color):
    """The share of the masked pixels whose strongest contrast is that of the paint."""
    pixels, target = image[mask].astype(float), np.asarray(color, float)
    pixels, target = pixels - pixels.mean(1, keepdims=True), target - target.mean()
    cosine = pixels @ target / (np.linalg.norm(pixels, axis=1) * np.linalg.norm(target) + 1e-6)
    return float((cosine > 0.9).mean())


def test_masks_lie_on_the_pixels_of_their_noun(samples):
    for sample in samples:
        paint = PAINT if sample.id.startswith("coco") else OTHER
        for index, name in enumerate(sample.region_names):
            mask = sample.regions == index
            if mask.sum() > 50:
                assert hue_is(sample.image, mask, paint[name]) > 0.85, (sample.id, name)


def test_every_painted_pixel_is_known(samples):
    """Nothing is pasted without a label: pixels without one are background (feathered edges aside)."""
    for sample in samples:
        colourful = np.ptp(sample.image.astype(int), axis=2) > 90
        assert (colourful & (sample.regions < 0)).mean() < 0.02


def test_datasets_are_not_mixed(samples):
    for sample in samples:
        nouns = PAINT if sample.id.startswith("coco") else OTHER
        assert set(sample.region_names) <= set(nouns)
        others = OTHER if nouns is PAINT else PAINT
        for each in sample.expressions:
            assert each.kind == "function" or not any(noun in each.text.lower().split() for noun in others)


def test_unique_and_absent_against_the_region_map(samples):
    for sample in samples:
        names = PAINT if sample.id.startswith("coco") else OTHER
        for each in sample.expressions:
            noun = next((name for name in names if re.search(rf"\b{name}s?\b", each.text.lower())), None)
            if noun is None or each.kind == "function":
                continue  # "the animal", or a question
            labelled = sample.regions == (
                sample.region_names.index(noun) if noun in sample.region_names else len(sample.region_names)
            )
            if each.kind in ("unique", "plural"):
                assert np.array_equal(each.mask, labelled)
            elif each.mask is not None and each.kind != "relation":
                assert not (each.mask & ~labelled).any()


def test_flip_swaps_the_sides():
    image = np.zeros((50, 80, 3), np.uint8)
    mask = np.zeros((50, 80), bool)
    mask[10:30, 5:25] = True
    image[mask] = 255
    photo = store_photo(InstancePhoto("coco/1", image, (Instance("dog", mask),)), 80)
    for flip in (False, True):
        scene = crop_scene(photo, (0, 0, 80, 50), (50, 80), flip)
        expected = mask[:, ::-1] if flip else mask
        assert np.array_equal(scene.objects[0].mask, expected)
        assert np.array_equal(scene.image[..., 0] > 127, expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(50, 80), (33, 47), (90, 200)])
def test_crops_move_mask_and_pixels_alike(flip, size):
    rng = np.random.default_rng(0)
    image = np.zeros((100, 120, 3), np.uint8)
    mask = np.zeros((100, 120), bool)
    mask[20:70, 30:90] = rng.random((50, 60)) < 2
    image[mask] = 255
    photo = store_photo(InstancePhoto("coco/1", image, (Instance("dog", mask),)), 120)
    scene = crop_scene(photo, (10, 5, 80, 95), size, flip)
    assert ((scene.image[..., 0] > 127) == scene.objects[0].mask).mean() > 0.98


def test_objects_just_outside_are_uncertain():
    photo = store_photo(COCO[0], 160)
    instance = photo.instances[0]
    _x0, _y0, x1, _y1 = instance.box
    window = (x1 + 1, 0, 160, 120)
    scene = crop_scene(photo, window, (120, 160), False)
    assert instance.name in scene.possible_nouns
    assert View.of_window(window, (120, 160), False).nearly_shows(instance)


def test_paste_puts_real_pixels_in_front():
    behind, source = store_photo(COCO[0], 160), store_photo(COCO[1], 160)
    scene = crop_scene(behind, (0, 0, 160, 120), (120, 160), False)
    before = scene.image.copy()
    instance = source.instances[0]
    size = instance.mask.shape
    covered = scene.objects[0]
    x, y = covered.box[:2]
    obj = paste(scene, cut_out(source, instance, size, False), x, y)
    x0, y0, x1, y1 = instance.box
    inside = (slice(y + 2, y + size[0] - 2), slice(x + 2, x + size[1] - 2))
    assert np.array_equal(scene.image[inside], source.image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2])
    assert np.array_equal(scene.image[~obj.mask & ~_grown(obj.mask)], before[~obj.mask & ~_grown(obj.mask)])
    assert not any((other.mask & obj.mask).any() for other in scene.objects if other is not obj)
    assert covered not in scene.objects or not scene.is_clear(covered) or covered.area >= 0.4 * covered.full_area


def _grown(mask):
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= grown[:, :-1].copy()
    grown[:, :-1] |= grown[:, 1:].copy()
    return grown


def test_occluders_are_visible_but_not_countable():
    mask, tie = np.zeros((80, 80), bool), np.zeros((80, 80), bool)
    mask[10:60, 10:60], tie[30:45, 30:35] = True, True
    image = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    source = store_photo(InstancePhoto("coco/1", image, (Instance("person", mask), Instance("tie", tie))), 80)
    scene = crop_scene(store_photo(COCO[0], 160), (0, 0, 160, 120), (120, 160), False)
    paste(scene, cut_out(source, source.instances[0], (50, 50), False), 20, 20)
    occluder = next(obj for obj in scene.objects if obj.name == "tie")
    assert not occluder.countable and occluder.area == tie.sum()


def test_photos_without_instances_are_refused():
    empty = InstancePhoto("coco/0", np.zeros((40, 40, 3), np.uint8), ())
    with pytest.raises(DataError):
        Composer([empty], CONFIG)


def test_validation_set_is_natural_and_fixed():
    first, second = validation_set(PHOTOS, CONFIG, 1), validation_set(PHOTOS, CONFIG, 1)
    assert len(first) == len(second) and all(map(same, first, second))
    by_id = {photo.id: photo for photo in PHOTOS}
    assert len({sample.id for sample in first}) == len(first)
    for sample in first:
        photo = by_id[sample.id.rsplit("/", 1)[0]]
        assert np.array_equal(sample.image, photo.image)
        kinds = [each.kind for each in sample.expressions]
        assert len(kinds) <= 10
        assert sample.task is Task.REASON_SEG or all(kinds.count(kind) <= 3 for kind in kinds)
        assert (sample.task is Task.REASON_SEG) == (set(kinds) == {"function"})
        assert all(each.mask is None or each.area >= 0.01 for each in sample.expressions)


def test_min_area_is_the_smallest_target():
    config = ComposeConfig(size=160, min_area=0.05, paste_probability=0.0)
    composer = Composer(PHOTOS, config, seed=3)
    areas = [
        each.area for index in range(20) for each in composer.sample(0, index).expressions if each.mask is not None
    ]
    assert areas and min(areas) >= 0.05


def test_dataset_weights_choose_the_datasets():
    composer = Composer(PHOTOS, ComposeConfig(size=160, dataset_weights={"coco": 0.0}), seed=3)
    assert {composer.sample(0, index).dataset for index in range(20)} == {"ccp"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"size": 8}, "size: expected at least 16, got 8"),
        ({"expressions_per_photo": 0}, "expressions_per_photo: expected at least 1, got 0"),
        ({"min_area": 1.5}, "min_area: expected a number from 0 to 1, got 1.5"),
        ({"reason_probability": -0.1}, "reason_probability: expected a number from 0 to 1"),
        ({"dataset_weights": {"coco": -1.0}}, "dataset_weights: expected weights of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        ComposeConfig(**setting)


def test_samples_name_their_dataset(samples, composer):
    assert all(sample.dataset == sample.id.split("/")[0] for sample in samples)
    assert composer.video(0, 0).dataset in ("coco", "ccp")
    assert {sample.dataset for sample in validation_set(PHOTOS, CONFIG, 1)} == {"coco", "ccp"}
