"""Clips and live video through the Segmenter, with a tiny random model."""

import numpy as np
import pytest
import tiny_model
import torch
from PIL import Image
from tiny_clips import cut, encode, pictures

from instructseg.errors import InputError
from instructseg.inference.segmenter import Segmenter
from instructseg.inference.video.options import VideoOptions
from instructseg.inference.video.references import MAX_SAMPLED_FRAMES
from instructseg.inference.video.tracker import Tracker, resolve_overlaps
from instructseg.media.video import open_clip
from instructseg.model.references import nearest_references
from instructseg.types import Task

TEXTS = ["the dog", "the big red cup left of the cat"]


@pytest.fixture(scope="module", params=["tiny", "like_nano"])
def segmenter(request):
    model, processor = tiny_model.build(**({} if request.param == "tiny" else tiny_model.LIKE_NANO))
    return Segmenter(model, processor, request.param)


@pytest.fixture(scope="module")
def tiny():
    return Segmenter(*tiny_model.build(), "tiny")


def assert_same(results, others):
    results, others = list(results), list(others)
    assert len(results) == len(others)
    for one, other in zip(results, others, strict=True):
        assert (one.masks == other.masks).all() and (one.scores == other.scores).all()


def test_without_linking_every_frame_is_answered_alone(segmenter):
    frames = pictures(5, 40, 56)
    model, processor = segmenter.model, segmenter.processor
    results = list(segmenter.track(frames, TEXTS, linking="off", threshold=0))
    for number, result in enumerate(results):
        others = nearest_references(number, model.config.num_reference_frames, 5)
        for text, mask, score in zip(TEXTS, result.masks, result.scores, strict=True):
            inputs = processor([[frames[number], *(frames[each] for each in others)]], [[text]], [Task.RVOS])
            with torch.no_grad():
                output = model(**inputs.model_kwargs)
            masks, scores = processor.post_process(
                output.mask_logits[0, 0], output.score_logits[0, 0], inputs.geometries[0], model.config.selection
            )
            assert (mask != masks[0]).mean() < 1e-3 and score == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("references", ["nearest", "uniform", "relevant"])
@pytest.mark.parametrize("linking", ["causal", "off"])
def test_a_file_an_iterator_and_a_list_answer_alike(segmenter, references, linking, tmp_path):
    path = encode(tmp_path / "a.mkv", pictures(5, 40, 56), codec="ffv1", pixels="bgr0")
    options = {"linking": linking, "references": references, "threshold": 0}
    results = list(segmenter.track(path, TEXTS, **options))
    assert [result.index for result in results] == list(range(5)) and results[0].instructions == tuple(TEXTS)
    assert all(result.masks.shape == (2, 40, 56) and result.masks.dtype == bool for result in results)
    assert_same(results, segmenter.track(pictures(5, 40, 56), TEXTS, **options))
    if references == "nearest":
        assert_same(results, segmenter.track(iter(pictures(5, 40, 56)), TEXTS, **options))
    assert_same(results, segmenter.track(path, TEXTS, cache_bytes=0, **options))


@pytest.mark.parametrize("references", ["nearest", "uniform", "relevant"])
def test_live_video_does_not_know_the_future(segmenter, references):
    frames = pictures(9, 40, 56)
    whole = segmenter.open_video(TEXTS, references=references, threshold=0)
    results = [whole.push(frame) for frame in frames]
    for until in (1, 4):
        session = segmenter.open_video(TEXTS, references=references, threshold=0)
        assert_same([session.push(frame) for frame in frames[:until]], results[:until])
    assert_same(
        results, segmenter.track(iter(frames), TEXTS, references=references, threshold=0)
    ) if references != "nearest" else None  # a clip's nearest frames lie on both sides
    assert [result.time for result in results[:3]] == [0, 0.04, 0.08]
    assert whole.push(frames[0], time=9.5).time == 9.5


def test_the_models_own_rule_for_references_unless_another_is_asked_for():
    model, processor = tiny_model.build(num_reference_frames=2)
    model.config.reference_policy = "uniform"
    segmenter, frames = Segmenter(model, processor), pictures(9, 40, 56)
    own = segmenter.segment_video(frames, TEXTS, threshold=0)
    rules = {
        rule: segmenter.segment_video(frames, TEXTS, references=rule, threshold=0).scores
        for rule in ("nearest", "uniform")
    }
    assert (own.scores == rules["uniform"]).all() and (own.scores != rules["nearest"]).any()
    session, asked = (segmenter.open_video(TEXTS, references=rule, threshold=0) for rule in (None, "uniform"))
    assert_same([session.push(frame) for frame in frames], [asked.push(frame) for frame in frames])


def test_a_live_session_outlives_a_bad_picture(tiny):
    session = tiny.open_video(TEXTS[0], threshold=0)
    first = session.push(pictures(1)[0])
    with pytest.raises(InputError):
        session.push(np.zeros((4, 4, 9), np.uint8))
    assert session.push(pictures(1)[0]).index == 1 and first.masks.shape[0] == 1


@pytest.mark.parametrize("linking", ["offline", "causal", "off"])
def test_whole_clips(segmenter, linking):
    frames = pictures(6, 40, 56)
    answer = segmenter.segment_video(frames, TEXTS, linking=linking, threshold=0)
    assert len(answer) == 6 and answer.error is None and answer.source is None
    assert answer.scores.shape == answer.present.shape == (6, 2) and answer.found
    assert answer.tasks == (Task.RVOS, Task.RVOS) and answer.model == segmenter.name
    assert answer.frames[3].masks.shape == (2, 40, 56)
    if linking != "offline":
        expected = list(segmenter.track(frames, TEXTS, linking=linking, threshold=0))
        for number, result in enumerate(expected):
            assert (answer.frames[number].masks == result.masks).all()
            assert (answer.present[number] == result.present).all()
    one = segmenter.segment_video(frames, TEXTS[0], linking=linking, threshold=0)
    assert one.instructions == (TEXTS[0],)
    assert one.scores[:, 0] == pytest.approx(answer.scores[:, 0], abs=1e-4)


def test_offline_masks_are_the_candidates_of_the_best_path(tiny):
    frames = pictures(6, 40, 56)
    tracker = Tracker(tiny, TEXTS, VideoOptions(threshold=0.0))
    seen = [each for _, each in tracker.run(open_clip(frames))]
    answer = tiny.segment_video(frames, TEXTS, threshold=0.0)
    for number, linker in enumerate(tracker.linkers):
        for frame, choice in enumerate(linker.best_path()):
            assert (seen[frame][number].candidates.mask(choice) == answer.frames[frame].masks[number]).all()
            assert answer.scores[frame, number] == seen[frame][number].candidates.scores[choice]


def test_instructions_about_motion(tiny):
    tracker = Tracker(tiny, ["the dog running to the left", "the dog on the left"], VideoOptions(threshold=0.0))
    assert [linker.motion for linker in tracker.linkers] == ["left", None]
    frames = pictures(4, 40, 56)
    counts = [[len(each.candidates) for each in seen] for _, seen in tracker.run(open_clip(frames))]
    assert len(counts) == 4 and all(0 < count <= 10 for row in counts for count in row)


@pytest.mark.parametrize("linking", ["offline", "causal", "off"])
def test_absence(tiny, linking):
    frames = pictures(4, 40, 56)
    answer = tiny.segment_video(frames, TEXTS, linking=linking, threshold=1.0)
    assert not answer.found and not any(answer.frames[number].masks.any() for number in range(4))
    assert (answer.scores > 0).all()
    model, processor = tiny_model.build()
    model.config.score_threshold = 1.0
    segmenter = Segmenter(model, processor)
    assert not segmenter.segment_video(frames, TEXTS, linking=linking).found
    model.config.video_threshold = 0.0
    assert segmenter.segment_video(frames, TEXTS, linking=linking).present.all()
    assert not segmenter.segment(frames[0], TEXTS[0]).found


def test_overlaps_are_parted(tiny):
    frames = pictures(3, 40, 56)
    same = ["the dog", "the cat"]
    free = tiny.segment_video(frames, same, threshold=0)
    parted = tiny.segment_video(frames, same, threshold=0, exclusive=True)
    assert all((free.frames[number].masks.sum(0) > 1).any() for number in range(3))
    for number in range(3):
        assert parted.frames[number].masks.sum(0).max() == 1
        resolved = resolve_overlaps(free.frames[number].masks, free.scores[number])
        assert (parted.frames[number].masks == resolved).all()
        assert (parted.frames[number].masks.any(0) == free.frames[number].masks.any(0)).all()
    causal = list(tiny.track(frames, same, threshold=0, exclusive=True))
    assert all(result.masks.sum(0).max() == 1 for result in causal)


def test_resolve_overlaps_by_hand():
    masks = np.array([[[1, 1, 0]], [[1, 1, 1]], [[0, 1, 1]]], bool)
    expected = np.array([[[0, 0, 0]], [[1, 1, 1]], [[0, 0, 0]]], bool)
    assert (resolve_overlaps(masks, np.array([0.2, 0.9, 0.5])) == expected).all()
    assert (resolve_overlaps(masks, np.array([0.9, 0.1, 0.5]))[:, 0].argmax(0) == [0, 0, 2]).all()


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("references", ["nearest", "uniform", "relevant"])
def test_short_clips(tiny, length, references):
    answer = tiny.segment_video(pictures(length, 40, 56), TEXTS, references=references, threshold=0)
    assert len(answer) == length and answer.present.all()


def test_sizes_may_change(segmenter, tmp_path):
    for number, size in enumerate([(40, 56), (33, 21), (1, 1), (56, 40)]):
        Image.fromarray(tiny_model.photo(*size, seed=number)).save(tmp_path / f"{number}.png")
    for linking in ("offline", "causal", "off"):
        answer = segmenter.segment_video(tmp_path, TEXTS, linking=linking, threshold=0, exclusive=True)
        assert [frame.size for frame in answer.frames] == [(40, 56), (33, 21), (1, 1), (56, 40)]
        assert answer.error is None and answer.source == str(tmp_path)


class TestDamage:
    @pytest.mark.parametrize("linking", ["offline", "causal"])
    def test_frames_before_it_are_kept(self, tiny, linking, tmp_path):
        path = cut(encode(tmp_path / "a.mp4", pictures(14), options={"movflags": "faststart"}), 0.6)
        good = len(_until_error(open_clip(path)))
        answer = tiny.segment_video(path, TEXTS, linking=linking, threshold=0)
        assert len(answer) == good > 3 and f"{good} decodable frames" in answer.error
        assert len(_until_error(tiny.track(path, TEXTS))) == good

    @pytest.mark.parametrize("references", ["nearest", "relevant"])
    def test_nothing_to_keep(self, tiny, references, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"nothing")
        with pytest.raises(InputError, match="not a readable video"):
            tiny.segment_video(tmp_path / "a.mp4", TEXTS, references=references)


def _until_error(frames):
    """The frames before the one-line error, which must come."""
    found = []
    with pytest.raises(InputError):
        for frame in frames:
            found.append(frame)
    return found


@pytest.mark.parametrize("references", ["nearest", "uniform", "relevant"])
def test_nothing_grows_with_the_clip(segmenter, references):
    session = segmenter.open_video(TEXTS, references=references, key_every=2)
    features = session._tracker.engine.features
    used = []
    for frame in pictures(40, 16, 16):
        session.push(frame)
        used.append((features.cache.used, len(features.cache._entries), len(features._pinned)))
    early, late = np.max(used[:20], 0), np.max(used[20:], 0)
    assert (late <= 1.2 * early).all() and late[2] <= MAX_SAMPLED_FRAMES


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda s: s.track("nowhere.mp4", "a dog"), "nowhere.mp4 does not exist"),
        (lambda s: s.track([tiny_model.photo()], []), "expected at least one instruction, got none"),
        (lambda s: s.track([tiny_model.photo()], ""), "expected a non-empty instruction"),
        (lambda s: s.segment_video([tiny_model.photo()], ["a dog", " "]), "expected a non-empty instruction"),
        (lambda s: s.open_video("word " * 5000), "5,000"),
        (lambda s: s.track([], "a dog", linking="offline"), "use segment_video"),
        (lambda s: s.open_video("a dog", linking="offline"), "use segment_video"),
        (lambda s: s.track([], "a dog", "off"), "expected options to be VideoOptions, got 'off'"),
        (lambda s: s.track([], "a dog", linking="best"), "one of offline, causal, off, got 'best'"),
        (lambda s: s.track([], "a dog", references="all"), "one of nearest, uniform, relevant, got 'all'"),
        (lambda s: s.track([], "a dog", threshold=2), "expected threshold to be a number in 0..1, got 2"),
        (lambda s: s.track([], "a dog", key_every=0), "expected key_every to be at least 1 (every frame), got 0"),
        (lambda s: s.track([], "a dog", cache_bytes=-1), "expected cache_bytes to be at least 0 (no cache), got -1"),
        (lambda s: s.track([], "a dog", every=0), "expected every to be at least 1 (all frames), got 0"),
        (lambda s: s.track([], "a dog", task="chat"), "got 'chat'"),
        (lambda s: list(s.track([], "a dog")), "has no frames"),
    ],
)
def test_what_cannot_be_done_is_an_input_error(tiny, call, message):
    with pytest.raises(InputError) as error:
        call(tiny)
    assert message in str(error.value) and "\n" not in str(error.value)
