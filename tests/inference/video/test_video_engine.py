"""The engine against the plain model, asked about every frame and instruction anew."""

import pytest
import tiny_model
import torch
from tiny_clips import pictures

from instructseg.errors import InputError
from instructseg.inference.video.candidates import rank_candidates
from instructseg.inference.video.engine import VideoEngine
from instructseg.inference.video.features import BufferedFrame
from instructseg.inference.video.instructions import choose_video_tasks
from instructseg.model.references import nearest_references
from instructseg.types import Task

FRAMES = pictures(5, 40, 56)
TEXTS = ["the dog", "what can fly in the video", "the big red cup left of the cat"]
TASKS = (Task.RVOS, Task.REASON_VOS, Task.RVOS)
VARIANTS = {
    "tiny": {},
    "like_nano": {**tiny_model.LIKE_NANO, "perceiver_config": {"word_order": "positions", "frame_time": True}},
    "released": {"block_order": "released", "prompt_set": "released"},
    "no_perceiver": {"perceiver_config": None},
}
BUFFERED = [BufferedFrame(number, image) for number, image in enumerate(FRAMES)]


def run(model, processor, tasks=TASKS, key_every=1, cache_bytes=2**30):
    """Proposals of every frame and instruction, [frame][instruction], and the engine."""
    engine = VideoEngine(model, processor, TEXTS, tasks, key_every, cache_bytes)
    results = []
    for frame in BUFFERED:
        numbers = nearest_references(frame.number, model.config.num_reference_frames, len(BUFFERED))
        results.append(engine.propose(frame, lambda _, numbers=numbers: [BUFFERED[number] for number in numbers])[0])
    return results, engine


@pytest.fixture(scope="module", params=VARIANTS)
def built(request):
    return tiny_model.build(**VARIANTS[request.param])


@torch.no_grad()
def plain(model, processor, number, text, task):
    """One frame and one instruction through the whole model."""
    numbers = nearest_references(number, model.config.num_reference_frames, len(FRAMES)) if task.is_video else []
    shown = sorted([number, *numbers])
    inputs = processor([[FRAMES[each] for each in shown]], [[text]], [task], [shown.index(number)])
    return model(**inputs.model_kwargs)


@pytest.mark.parametrize("tasks", [TASKS, (Task.RES,) * 3])
def test_equal_to_the_plain_model(built, tasks):
    results, _ = run(*built, tasks=tasks)
    for number, found in enumerate(results):
        for text, task, proposals in zip(TEXTS, tasks, found, strict=True):
            expected = plain(*built, number, text, task)
            torch.testing.assert_close(proposals.mask_logits, expected.mask_logits, atol=2e-4, rtol=1e-4)
            torch.testing.assert_close(proposals.score_logits, expected.score_logits, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("key_every", [1, 3])
def test_caches_change_nothing_at_all(built, key_every):
    kept, _ = run(*built, key_every=key_every)
    for budget in (0, 30_000):
        anew, _ = run(*built, key_every=key_every, cache_bytes=budget)
        for first, second in zip(kept, anew, strict=True):
            for one, other in zip(first, second, strict=True):
                assert torch.equal(one.mask_logits, other.mask_logits)
                assert torch.equal(one.score_logits, other.score_logits)


def count_calls(monkeypatch, module):
    calls = []
    forward = module.forward
    monkeypatch.setattr(module, "forward", lambda *args, **kwargs: calls.append(1) or forward(*args, **kwargs))
    return calls


@pytest.mark.parametrize("variant", ["tiny", "like_nano"])
def test_everything_is_computed_once(variant, monkeypatch):
    model, processor = tiny_model.build(**VARIANTS[variant])
    names = ["backbone", "vision_tokens", "pixel_decoder", "perceiver", "language_model", "mask_decoder"]
    calls = {name: count_calls(monkeypatch, getattr(model, name)) for name in names}
    run(model, processor)
    rows, frames = 2, len(FRAMES)  # two kinds of task, so two rows
    counts = {name: len(made) for name, made in calls.items()}
    assert counts == dict.fromkeys(names[:3], frames) | dict.fromkeys(names[3:], rows * frames)


def test_key_frames(monkeypatch):
    model, processor = tiny_model.build()
    language_model, decoder = (
        count_calls(monkeypatch, getattr(model, name)) for name in ("language_model", "mask_decoder")
    )
    every, _ = run(model, processor)
    assert len(language_model) == len(decoder) == 10
    third, _ = run(model, processor, key_every=3)
    assert len(language_model) == 10 + 4 and len(decoder) == 20
    for number, (one, other) in enumerate(zip(every, third, strict=True)):
        assert torch.equal(one[0].mask_logits, other[0].mask_logits) == (number % 3 == 0)
    assert not torch.equal(third[1][0].mask_logits, third[2][0].mask_logits)


def test_no_answer_from_nan():
    model, processor = tiny_model.build()
    engine = VideoEngine(model, processor, TEXTS, TASKS, 1, 0)
    with torch.no_grad():
        model.mask_tokens.fill_(torch.nan)
    (proposals, *_), pixels = engine.propose(BUFFERED[0], lambda _: [])
    geometry = processor.image_processor.geometry(40, 56)
    with pytest.raises(InputError, match="NaN"):
        rank_candidates(proposals, pixels, processor, geometry, "score", 3)


@pytest.mark.parametrize("selection", ["score", "score_x_quality"])
@pytest.mark.parametrize("size", [(40, 56), (64, 30)])
def test_the_best_candidate_is_the_photos_answer(built, selection, size):
    model, processor = built
    frame = BufferedFrame(0, tiny_model.photo(*size))
    engine = VideoEngine(model, processor, TEXTS, TASKS, 1, 0)
    found, pixels = engine.propose(frame, lambda _: [])
    geometry = processor.image_processor.geometry(*size)
    for proposals in found:
        candidates = rank_candidates(proposals, pixels, processor, geometry, selection, 4)
        masks, scores = processor.post_process(
            proposals.mask_logits[0, 0], proposals.score_logits[0, 0], geometry, selection
        )
        if len(masks):  # a photo's answer leaves an empty mask out
            assert (candidates.mask(0) == masks[0]).all() and candidates.scores[0] == scores[0]
        else:
            assert not candidates.mask(0).any()
        assert candidates.mask(0).shape == size and candidates.empty_mask().shape == size
        assert (candidates.scores[:-1] >= candidates.scores[1:]).all()
        masks, embeddings = candidates.descriptors.masks, candidates.descriptors.appearance_embeddings
        assert len(masks) == len(embeddings) == len(candidates.logits) == len(candidates) >= 1
        assert embeddings.shape[1] == model.config.decoder_config.hidden_size


def test_tasks():
    assert choose_video_tasks(None, TEXTS) == TASKS
    assert choose_video_tasks("res", TEXTS) == choose_video_tasks(Task.RES, TEXTS) == (Task.RES,) * 3
    for wrong in ("chat", "segment", 3):
        with pytest.raises(InputError, match="expected task to be one of res"):
            choose_video_tasks(wrong, TEXTS)
