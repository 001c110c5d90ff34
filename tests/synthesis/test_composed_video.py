"""Clips of painted rectangles: the colours in the frames show which object moved where."""

import numpy as np
import pytest

from instructseg.synthesis.composer import ComposeConfig, Composer
from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.motion_expressions import motion_expressions
from instructseg.synthesis.motion_questions import motion_questions
from instructseg.synthesis.scene import Scene, SceneObject
from instructseg.types import Instance, InstancePhoto, Task

PAINT = {"dog": (220, 20, 20), "zebra": (30, 170, 40), "kite": (30, 60, 220)}


def photo(photo_id, name):
    image = np.full((120, 160, 3), 128, np.uint8)
    mask = np.zeros((120, 160), bool)
    mask[40:75, 50:90] = True
    image[mask] = PAINT[name]
    return InstancePhoto(photo_id, image, (Instance(name, mask),))


@pytest.fixture(scope="module")
def clips():
    composer = Composer([photo(f"coco/{at}", name) for at, name in enumerate(PAINT)], ComposeConfig(size=160), seed=1)
    return [composer.video(0, index) for index in range(150)]


def painted(frame, name):
    strongest = int(np.argmax(PAINT[name]))
    rest = np.delete(frame.astype(int), strongest, axis=2).max(2)
    return frame[..., strongest].astype(int) - rest > 60


def test_clips_are_whole(clips):
    assert {clip.task for clip in clips} == {Task.RVOS, Task.REASON_VOS}
    assert {"motion", "absent", "hidden"} <= {each.kind for clip in clips for each in clip.expressions}
    assert len({clip.key for clip in clips}) == 5, "any frame may be asked about"
    for clip in clips:
        assert len(clip.frames) == 5 and 0 <= clip.key < 5
        assert {frame.shape for frame in clip.frames} == {clip.image.shape}
        assert clip.regions.shape == clip.image.shape[:2]
        for each in clip.expressions:
            assert each.mask is None or (each.mask.shape == clip.image.shape[:2] and each.mask.any())


def test_masks_lie_on_the_key_frame(clips):
    for clip in clips:
        for index, name in enumerate(clip.region_names):
            found, labelled = painted(clip.image, name), clip.regions == index
            assert (found & labelled).sum() / max(1, (found | labelled).sum()) > 0.8


def test_masks_of_all_frames_lie_on_the_paint(clips):
    """A moving object's masks are where its paint is in every frame, empty before it enters and after it leaves."""
    shares, away = [], 0
    for clip in clips:
        for each in clip.expressions:
            if each.masks is None:
                continue
            assert len(each.masks) == len(clip.frames)
            now = np.zeros(clip.image.shape[:2], bool) if each.mask is None else each.mask
            assert np.array_equal(each.masks[clip.key], now)
            if each.kind == "absent":
                assert not np.any(each.masks)
                continue
            names = {clip.region_names[number] for number in np.unique(clip.regions[each.mask]) if number >= 0}
            for frame, mask in zip(clip.frames, each.masks, strict=True):
                away += not mask.any()
                if mask.sum() > 60:  # the paint fades towards the edge of a cut-out, which is most of a sliver
                    paint = np.logical_or.reduce([painted(frame, name) for name in names])
                    shares.append((paint & mask).sum() / mask.sum())
    assert min(shares) > 0.6 and np.mean(shares) > 0.9
    assert len(shares) > 100 and away > 5


def test_motion_words_match_what_the_pixels_do(clips):
    """Follow nouns that are one blob in every frame: then the centroid of their paint is the centroid of the object."""
    checked = 0
    for clip in clips:
        for each in clip.expressions:
            text = each.text.lower().rstrip("?.")
            name = next((name for name in PAINT if name in text.split()), None)
            if each.kind != "motion" or name is None or clip.task is not Task.RVOS:
                continue
            places = [np.argwhere(painted(frame, name)) for frame in clip.frames]
            total = painted(clip.image, name).sum()
            if each.mask.sum() < 0.9 * total or min(map(len, places)) < 0.8 * max(map(len, places)):
                continue  # several of them, or cut off by the edge: the centroid says nothing
            move = places[-1].mean(0) - places[0].mean(0)
            height, width = clip.image.shape[:2]
            for word, axis, sign, side in (
                ("left", 1, -1, width), ("right", 1, 1, width), ("up", 0, -1, height), ("down", 0, 1, height),
            ):  # fmt: skip
                if word in text.split():
                    assert sign * move[axis] > 0.1 * side, (clip.id, text)
                    checked += 1
    assert checked >= 5


def scene_of(motions):
    objects = []
    for at in range(len(motions)):
        mask = np.zeros((60, 160), bool)
        mask[20:40, 5 + 30 * at : 25 + 30 * at] = True
        objects.append(SceneObject("dog", mask, 400.0))
    scene = Scene(np.full((60, 160, 3), 128, np.uint8), objects)
    return scene, {id(obj): motion for obj, motion in zip(objects, motions, strict=True)}


LEFT, RIGHT, STILL = ObjectMotion("left", (-0.3, 0.0)), ObjectMotion("right", (0.3, 0.0)), ObjectMotion()


def said(motions):
    scene, moving = scene_of(motions)
    candidates = motion_expressions(scene, moving, 0.005)
    places = {id(obj): at for at, obj in enumerate(scene.objects)}
    return {
        text: [places[id(obj)] for obj in candidate.targets] for candidate in candidates for text in candidate.phrases
    }


def test_motion_distinguishes_objects_of_one_noun():
    texts = said([LEFT, RIGHT, STILL])
    assert texts["the dog moving left"] == [0] and texts["the dog moving right"] == [1]
    assert texts["the dog that does not move"] == [2] and texts["the dog moving up"] == []


def test_several_with_one_motion_are_named_together():
    texts = said([LEFT, LEFT, STILL])
    assert texts["all the dogs moving left"] == [0, 1] and "the dog moving left" not in texts


def test_ambiguous_motions_are_not_named():
    stopped = ObjectMotion("left", (-0.3, 0.0), stops=True)
    texts = said([LEFT, stopped])
    assert texts["the dog that stops"] == [1]
    assert "the dog moving left" not in texts, "the other one moved left too, before it stopped"
    assert "the dog that does not move" not in texts, "one of them stands still at the end"
    assert "the dog that does not move" not in said([LEFT, ObjectMotion(growth=2.0)])


def test_questions_about_what_comes_next():
    scene, moving = scene_of([LEFT, STILL])
    (candidate,) = motion_questions(scene, moving, 0.005)
    assert candidate.targets == (scene.objects[0],) and "left edge" in candidate.phrases[0]
    scene, moving = scene_of([LEFT, LEFT])
    assert motion_questions(scene, moving, 0.005) == []


def test_drawn_motions_are_clear():
    rng = np.random.default_rng(0)
    for _ in range(200):
        motion = ObjectMotion.draw(rng)
        if motion.direction:
            along, across = (0, 1) if motion.direction in ("left", "right") else (1, 0)
            sign = -1 if motion.direction in ("left", "up") else 1
            assert sign * motion.step[along] >= 0.2 and abs(motion.step[across]) <= 0.03


def test_objects_outside_the_picture_are_no_target(clips):
    """A hidden object's noun is painted nowhere in the key frame, or its words single out another of its kind."""
    alone = 0
    for clip in clips:
        for each in clip.expressions:
            name = next((name for name in PAINT if name in each.text.lower().rstrip("?.").split()), None)
            if each.kind == "hidden" and name:
                assert each.mask is None
                alone += not painted(clip.image, name).any() and any(painted(f, name).any() for f in clip.frames)
    assert alone >= 5


def test_expressions_about_hidden_objects_have_no_target():
    scene, moving = scene_of([LEFT, RIGHT])
    scene.objects[0].mask[:] = False
    scene.objects[0].clear_cache()
    candidates = motion_expressions(scene, moving, 0.005)
    kinds = {text: (candidate.kind, len(candidate.targets)) for candidate in candidates for text in candidate.phrases}
    assert kinds["the dog moving left"] == ("hidden", 0) and kinds["the dog moving right"] == ("motion", 1)
    scene, moving = scene_of([LEFT])
    scene.objects[0].mask[:] = False
    scene.objects[0].clear_cache()
    candidates = motion_expressions(scene, moving, 0.005)
    assert ("hidden", ()) in {
        (candidate.kind, candidate.targets) for candidate in candidates if "the dog" in candidate.phrases
    }


def test_entering_and_leaving_have_words_of_their_own():
    enters, leaves = ObjectMotion("left", (-0.5, 0.0), enters=True), ObjectMotion("left", (-0.5, 0.0), leaves=True)
    texts = said([enters, leaves])
    assert texts["the dog that leaves the {picture}"] == [1] and texts["the dog that enters the {picture}"] == [0]
    assert "the dog moving left" not in texts and texts["all the dogs moving left"] == [0, 1]
    scene, moving = scene_of([enters, LEFT])
    said_of = {
        text: candidate.targets for candidate in motion_questions(scene, moving, 0.005) for text in candidate.phrases
    }
    assert said_of["what comes into the {picture}?"] == (scene.objects[0],)
