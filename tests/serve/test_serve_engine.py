"""Parts of the server without HTTP: batches, sessions, the queue, clips' jobs, restarts."""

import asyncio
import threading

import numpy as np
import pytest
import served

from instructseg.errors import CheckpointError, InputError
from instructseg.serve.engine.clips import ClipJobs
from instructseg.serve.engine.engine import Engine
from instructseg.serve.engine.queue import PhotoQueue
from instructseg.serve.errors import NotFound, Overloaded, Refusal
from instructseg.serve.messages import (
    Answer,
    ClipEnd,
    ClipProgress,
    ClipRequest,
    ClipStarted,
    Failure,
    PhotoRequest,
    StartFailure,
)
from instructseg.serve.options import Limits, ServerOptions
from instructseg.serve.worker.photos import PhotoAnswerer
from instructseg.serve.worker.sessions import SessionStore


@pytest.fixture(scope="module")
def segmenter():
    return served.segmenter()


@pytest.fixture
def answerer(segmenter):
    return PhotoAnswerer(segmenter, SessionStore(10**9, 600), 10**6)


def about(seed: int | None, *texts: str, session: str | None = None, **options) -> PhotoRequest:
    return PhotoRequest(None if seed is None else served.png(seed=seed), session, texts, **options)


class Calls:
    """Counts passes of the model."""

    def __init__(self, monkeypatch, segmenter):
        self.shapes: list[tuple[int, int]] = []
        reason = segmenter.model.reason

        def counted(layout, *rest):
            self.shapes.append(tuple(layout.expression_mask.shape))
            return reason(layout, *rest)

        monkeypatch.setattr(segmenter.model, "reason", counted)


def test_a_batch_takes_few_passes(answerer, segmenter, monkeypatch):
    """Three photos with one text each are one pass, and so are all texts about one photo."""
    calls = Calls(monkeypatch, segmenter)
    requests = [about(1, "dog"), about(2, "cat"), about(3, "cup"), about(4, "kite", "clock"), about(4, "zebra")]
    answers = answerer.answer(requests)
    assert sorted(calls.shapes) == [(1, 3), (3, 1)]
    for request, answer in zip(requests, answers, strict=True):
        alone = answerer.answer([request])[0]
        assert [result["instruction"] for result in answer.results] == list(request.texts)
        for together, single in zip(answer.results, alone.results, strict=True):
            assert together["scores"] == pytest.approx(single["scores"], abs=1e-5)
            assert [item["bbox"] for item in together["objects"]] == [item["bbox"] for item in single["objects"]]


def test_different_options_are_not_mixed(answerer):
    few, many = answerer.answer([about(1, "dog", max_masks=1), about(1, "dog", max_masks=5)])
    assert len(few.results[0]["objects"]) == 1 and len(many.results[0]["objects"]) > 1


def test_one_broken_request_does_not_fail_the_others(answerer):
    broken = PhotoRequest(b"no photo", None, ("dog",))
    long = about(1, "dog " * 600)
    answers = answerer.answer([about(1, "dog"), broken, long, about(2, "cat"), about(None, "dog", session="gone")])
    assert [type(answer) for answer in answers] == [Answer, Failure, Failure, Answer, Failure]
    assert [answers[place].status for place in (1, 2, 4)] == [422, 422, 404]
    assert "tokens" in answers[2].message


def test_an_unexpected_error_is_not_shown(answerer, segmenter, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("secret path")

    monkeypatch.setattr(segmenter.processor, "layout", fail)
    (answer,) = answerer.answer([about(1, "dog")])
    assert answer.status == 500 and "secret" not in answer.message


def test_a_session_is_encoded_once(answerer, segmenter, monkeypatch):
    encoded = []
    encode = segmenter.model.encode_image
    monkeypatch.setattr(segmenter.model, "encode_image", lambda *images: encoded.append(1) or encode(*images))
    for texts in (("dog",), ("cat", "cup"), ("kite",)):
        answerer.answer([about(5 if not encoded else None, *texts, session="a")])
    assert len(encoded) == 1


def test_sessions_are_bounded(segmenter):
    now = [0.0]
    store = SessionStore(100_000, 60, lambda: now[0])
    for number in range(50):
        session = segmenter.open(np.full((64, 64, 3), number, np.uint8))
        store.keep(str(number), session)
        assert store.use.size <= 100_000
    assert session.nbytes == 64 * 64 * 3
    assert store.use.count == 8 and store.get("49") is session and store.get("41") is None
    session.segment("dog")
    store.keep("49", session)
    assert session.nbytes > 64 * 64 * 3 and store.use.size <= 100_000
    now[0] = 61.0
    assert store.get("49") is None and store.use.count == store.use.size == 0


def test_the_queue_is_bounded_and_fair():
    async def scenario():
        queue = PhotoQueue(3)
        entries = [queue.put(about(None, str(number), session="a")) for number in range(3)]
        with pytest.raises(Overloaded, match="3 requests are waiting") as refused:
            queue.put(about(None, "more", session="a"))
        assert 1 <= refused.value.retry_after <= 60
        assert await queue.take(2) == entries[:2]
        assert not queue.withdraw(entries[0]) and queue.withdraw(entries[2]) and len(queue) == 0
        queue.put_back(entries[:2])
        assert [await queue.take(8), await queue.take(8)] == [entries[:1], entries[1:2]]

    asyncio.run(scenario())


def clip_request(jobs: ClipJobs) -> ClipRequest:
    name, folder = jobs.new_folder()
    (folder / "clip").write_bytes(b"x")
    return ClipRequest(name, folder / "clip", ("dog",))


def test_clips_are_bounded_and_forgotten(tmp_path):
    sent = []
    jobs = ClipJobs(Limits(clips=2, kept_clips=2), tmp_path, sent.append, lambda: None)
    requests = [clip_request(jobs) for _ in range(2)]
    for request in requests:
        jobs.start(request)
    with pytest.raises(Overloaded, match="2 clips"):
        jobs.new_folder()
    first = jobs.get(requests[0].id)
    jobs.on_message(ClipStarted(first.id, 4))
    jobs.on_message(ClipProgress(first.id, {"index": 0}))
    assert (first.state, first.done, first.frames) == ("running", 1, [{"index": 0}]) and first.seconds_left is not None
    jobs.on_message(ClipEnd(first.id, "done"))
    jobs.fail_all("lost")
    assert jobs.get(requests[1].id).error == "lost"
    jobs.on_message(ClipEnd(requests[1].id, "done"))  # too late: it has failed
    assert jobs.get(requests[1].id).state == "failed"
    for _ in range(3):
        jobs.on_message(ClipEnd(jobs.start(clip_request(jobs)).id, "done"))
    jobs.sweep()
    assert len(jobs.jobs) == 2 == len(list(tmp_path.iterdir()))
    with pytest.raises(NotFound):
        jobs.get(first.id)


def test_a_clip_that_takes_too_long_is_cancelled(tmp_path):
    sent = []
    jobs = ClipJobs(Limits(clip_seconds=0.001), tmp_path, sent.append, lambda: None)
    job = jobs.start(clip_request(jobs))
    jobs.on_message(ClipStarted(job.id, 4))
    asyncio.run(asyncio.sleep(0.01))
    jobs.sweep()
    jobs.on_message(ClipEnd(job.id, "cancelled"))
    assert job.state == "cancelled" and "longer than 0.001 s" in job.error


def test_a_model_that_cannot_be_loaded(segmenter):
    class Early(served.ThreadedWorker):
        def _run(self):
            self.theirs.send(StartFailure("no such weights"))
            self.exitcode = 0
            self.theirs.close()

    def fail(options):
        worker = Early(segmenter, options)
        return worker, worker.ours

    async def scenario():
        with pytest.raises(CheckpointError, match="no such weights"):
            await Engine(ServerOptions(), fail).start()

    asyncio.run(scenario())


def test_a_crash_of_a_batch_is_retried_alone(segmenter, monkeypatch):
    """The request that ends the worker fails; those computed with it do not."""
    launch = served.launcher(segmenter)

    def answer_or_die(worker, answer):
        def answer_all(requests):
            if any("zebra" in request.texts for request in requests):
                worker.kill()
                raise OSError("the process is gone")
            return answer(requests)

        return answer_all

    def dangerous(options):
        worker, ours = launch(options)
        photos = worker.worker.photos
        photos.answer = answer_or_die(worker, photos.answer)
        return worker, ours

    async def scenario():
        engine = Engine(ServerOptions(), dangerous)
        await engine.start()
        texts = ("dog", "zebra", "cat", "cup")
        answers = await asyncio.gather(*(engine.ask(about(1, text)) for text in texts), return_exceptions=True)
        await engine.stop()
        return [type(answer) for answer in answers], engine.restarts

    kinds, restarts = asyncio.run(scenario())
    assert kinds == [Answer, Refusal, Answer, Answer] and restarts == 2


def test_a_request_that_was_put_back_does_not_wait_for_ever(segmenter):
    """A batch hangs, and the next worker does not come: its requests are refused when their time has passed again."""
    ended = threading.Event()

    class Hanging(served.ThreadedWorker):
        def kill(self):
            super().kill()
            ended.set()

    class Late(served.ThreadedWorker):
        def _run(self):
            ended.wait()
            self.kill()

    workers = []

    def launch(options):
        worker = (Late if workers else Hanging)(segmenter, options)
        worker.worker.photos.answer = lambda requests: ended.wait() and ()
        workers.append(worker)
        return worker, worker.ours

    async def scenario():
        engine = Engine(ServerOptions(limits=Limits(request_seconds=0.3)), launch)
        await engine.start()
        asked = asyncio.gather(*(engine.ask(about(1, text)) for text in ("dog", "cat")), return_exceptions=True)
        answers = await asyncio.wait_for(asked, 30)
        await engine.stop()
        return answers

    answers = asyncio.run(scenario())
    assert [type(answer) for answer in answers] == [Overloaded, Overloaded]


def test_limits_must_be_positive():
    with pytest.raises(InputError, match="queue"):
        Limits(queue=0)
