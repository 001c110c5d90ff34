"""Bring each frame together with its reference frames, while only a few frames are held."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from instructseg.errors import InputError
from instructseg.inference.video.engine import Reference, VideoEngine
from instructseg.inference.video.features import HeldFrame
from instructseg.inference.video.references import (
    EvenSample,
    frames_needed,
    latest,
    relevant,
    uniform,
)
from instructseg.media.video import VideoFrame, VideoReader
from instructseg.model.references import nearest_references
from instructseg.types import ReferencePolicy

References = Callable[[int], Sequence[Reference]]
Prepared = tuple[VideoFrame, HeldFrame, References]


def with_references(clip: VideoReader, engine: VideoEngine, policy: ReferencePolicy, count: int) -> Iterator[Prepared]:
    """Every frame of a clip, and a function that gives an instruction's references.

    "nearest" reads a few frames ahead. The other policies choose from frames of the whole clip when it can be read
    twice, and else from those seen so far.
    """
    if policy == "nearest":
        return _nearest(clip, engine, count)
    live = LiveReferences(engine, policy, count)
    if clip.repeatable:
        live.survey(clip)
    return _pooled(clip, engine, live)


def _nearest(clip: VideoReader, engine: VideoEngine, count: int) -> Iterator[Prepared]:
    frames, error = _until_error(clip)
    held: dict[int, tuple[VideoFrame, HeldFrame]] = {}
    read = key = 0
    while True:
        for frame in islice(frames, max(0, frames_needed(key, count) - read)):
            held[read] = frame, HeldFrame(read, frame.image)
            read += 1
        if key == read:
            break
        held = {number: pair for number, pair in held.items() if number >= key - count}
        engine.features.forget_before(key - count)
        references = [held[number][1] for number in nearest_references(key, count, read)]
        yield *held[key], lambda _, found=references: found
        key += 1
    error()


def _pooled(clip: VideoReader, engine: VideoEngine, live: LiveReferences) -> Iterator[Prepared]:
    for number, frame in enumerate(clip):
        held = HeldFrame(number, frame.image)
        yield frame, held, live.take(held)
        engine.features.forget_before(live.oldest)


class LiveReferences:
    """References among frames that are known: those pushed so far, or surveyed before."""

    def __init__(self, engine: VideoEngine, policy: ReferencePolicy, count: int):
        self.engine, self.policy, self.count = engine, policy, count
        self._recent: deque[HeldFrame] = deque(maxlen=count + 1)
        self._sample = EvenSample()
        self._relevance: dict[tuple[int, int], float] = {}
        self._surveyed, self._newest = False, 0

    @property
    def oldest(self) -> int:
        """The first frame that may still be read as a picture."""
        return self._recent[0].number if self._recent and self.policy == "nearest" else self._newest

    def survey(self, clip: VideoReader) -> None:
        """Choose the frames to pick references from over the whole clip; a damaged one as far as it goes."""
        frames, _ = _until_error(clip)
        for number, frame in enumerate(frames):
            self._offer(HeldFrame(number, frame.image), soon_decoded=False)
        self._surveyed = True

    def take(self, frame: HeldFrame) -> References:
        """Take the next frame; return a function that gives an instruction's references for it."""
        self._newest = frame.number
        if self.policy == "nearest":
            self._recent.append(frame)
            known = {each.number: each for each in self._recent}
            chosen = [known[number] for number in latest(frame.number, self.count)]
            return lambda _: chosen
        if not self._surveyed:
            self._offer(frame, soon_decoded=True)
        return lambda instruction: self._choose(instruction, frame.number)

    def _offer(self, frame: HeldFrame, soon_decoded: bool) -> None:
        if self._sample.offer(frame.number):
            self.engine.features.pin(frame, soon_decoded)
            self.engine.features.release(set(self._sample.numbers))

    def _choose(self, instruction: int, key: int) -> list[int]:
        numbers = self._sample.numbers
        if self.policy == "uniform":
            return uniform(numbers, key, self.count)
        for number in numbers:
            if (instruction, number) not in self._relevance:
                self._relevance[instruction, number] = self.engine.relevance(number, instruction)
        return relevant({number: self._relevance[instruction, number] for number in numbers}, key, self.count)


def _until_error(clip: VideoReader) -> tuple[Iterator[VideoFrame], Callable[[], None]]:
    """The good frames of a clip, and a function to call after them that raises what ended it, if anything did."""
    problems: list[InputError] = []

    def frames() -> Iterator[VideoFrame]:
        try:
            yield from clip
        except InputError as problem:
            problems.append(problem)

    def check() -> None:
        if problems:
            raise problems[0]

    return frames(), check
