"""Pair each frame with its reference frames (section 3.2), with only a few frames in memory.

- "nearest" (released): the T_r frames around the key frame, found by reading ahead; in live video the T_r before it.
- "uniform", "relevant": T_r frames from an even sample of the whole clip, which is therefore read twice; in live
  video, and where a clip can be read only once, from a sample of the frames so far.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from instructseg.errors import InputError
from instructseg.inference.video.engine import ReferenceLookup, VideoEngine
from instructseg.inference.video.features import BufferedFrame
from instructseg.inference.video.references import (
    EvenSample,
    frames_needed,
    latest_references,
    relevant_references,
    uniform_references,
)
from instructseg.media.video import VideoFrame, VideoReader
from instructseg.model.references import nearest_references
from instructseg.types import ReferencePolicy

PairedFrame = tuple[VideoFrame, BufferedFrame, ReferenceLookup]


def pair_with_references(
    clip: VideoReader, engine: VideoEngine, policy: ReferencePolicy, count: int
) -> Iterator[PairedFrame]:
    """Every frame of a clip with the lookup of its `count` reference frames per instruction.

    "uniform" and "relevant" read a clip twice if possible. A damaged clip raises InputError after the frames before the
    damage.
    """
    if policy == "nearest":
        return _pair_with_nearest(clip, engine, count)
    buffer = SampledFrames(engine, policy, count)
    if clip.repeatable:
        buffer.sample_clip(clip)
    return _pair_with_buffer(clip, engine, buffer)


def make_reference_buffer(engine: VideoEngine, policy: ReferencePolicy, count: int) -> ReferenceBuffer:
    """The buffer of a policy for live video."""
    return RecentFrames(count) if policy == "nearest" else SampledFrames(engine, policy, count)


class ReferenceBuffer(ABC):
    """Reference frames among the frames pushed so far."""

    @abstractmethod
    def push(self, frame: BufferedFrame) -> ReferenceLookup:
        """Add the next frame and return the lookup of its reference frames, valid until the next push."""

    @property
    @abstractmethod
    def oldest(self) -> int:
        """Number of the oldest frame whose pixels may still be needed."""


class RecentFrames(ReferenceBuffer):
    """The `count` frames before the key frame, the same for all instructions; keeps the pixels of count + 1 frames."""

    def __init__(self, count: int):
        self.count = count
        self._frames: deque[BufferedFrame] = deque(maxlen=count + 1)

    @property
    def oldest(self) -> int:
        return self._frames[0].number if self._frames else 0

    def push(self, frame: BufferedFrame) -> ReferenceLookup:
        self._frames.append(frame)
        buffered = {item.number: item for item in self._frames}
        references = [buffered[number] for number in latest_references(frame.number, self.count)]
        return lambda _: references


class SampledFrames(ReferenceBuffer):
    """References from an even sample of the frames: "uniform" over the sample, or the most "relevant" per instruction.

    Keeps the visual tokens of at most 16 frames (`references.MAX_SAMPLED_FRAMES`), and no pixels.
    """

    def __init__(self, engine: VideoEngine, policy: ReferencePolicy, count: int):
        self.engine, self.policy, self.count = engine, policy, count
        self._sample = EvenSample()
        self._relevance: dict[tuple[int, int], float] = {}
        self._is_complete, self._newest = False, 0

    @property
    def oldest(self) -> int:
        return self._newest

    def sample_clip(self, clip: VideoReader) -> None:
        """Draw the sample from the whole clip beforehand; from a damaged clip, up to the damage."""
        frames, _ = _until_error(clip)
        for number, frame in enumerate(frames):
            self._offer(BufferedFrame(number, frame.image), decoded_next=False)
        self._is_complete = True

    def push(self, frame: BufferedFrame) -> ReferenceLookup:
        self._newest = frame.number
        if not self._is_complete:
            self._offer(frame, decoded_next=True)
        return lambda instruction: self._choose(instruction, frame.number)

    def _offer(self, frame: BufferedFrame, decoded_next: bool) -> None:
        if self._sample.offer(frame.number):
            self.engine.features.pin(frame, decoded_next)
            self.engine.features.unpin_all_except(set(self._sample.numbers))

    def _choose(self, instruction: int, key: int) -> list[int]:
        numbers = self._sample.numbers
        if self.policy == "uniform":
            return uniform_references(numbers, key, self.count)
        for number in numbers:
            if (instruction, number) not in self._relevance:
                self._relevance[instruction, number] = self.engine.relevance(number, instruction)
        relevance = {number: self._relevance[instruction, number] for number in numbers}
        return relevant_references(relevance, key, self.count)


def _pair_with_nearest(clip: VideoReader, engine: VideoEngine, count: int) -> Iterator[PairedFrame]:
    """Read ahead until the nearest frames are known; keeps the pixels of at most 2 * count + 1 frames."""
    frames, raise_error = _until_error(clip)
    buffered: dict[int, tuple[VideoFrame, BufferedFrame]] = {}
    read = key = 0
    while True:
        for frame in islice(frames, max(0, frames_needed(key, count) - read)):
            buffered[read] = frame, BufferedFrame(read, frame.image)
            read += 1
        if key == read:
            break
        buffered = {number: pair for number, pair in buffered.items() if number >= key - count}
        engine.features.evict_before(key - count)
        references = [buffered[number][1] for number in nearest_references(key, count, read)]
        yield *buffered[key], lambda _, references=references: references
        key += 1
    raise_error()


def _pair_with_buffer(clip: VideoReader, engine: VideoEngine, buffer: ReferenceBuffer) -> Iterator[PairedFrame]:
    for number, frame in enumerate(clip):
        buffered = BufferedFrame(number, frame.image)
        yield frame, buffered, buffer.push(buffered)
        engine.features.evict_before(buffer.oldest)


def _until_error(clip: VideoReader) -> tuple[Iterator[VideoFrame], Callable[[], None]]:
    """The readable frames of a clip, and a function that afterwards raises the error that stopped reading, if any."""
    errors: list[InputError] = []

    def frames() -> Iterator[VideoFrame]:
        try:
            yield from clip
        except InputError as error:
            errors.append(error)

    def raise_error() -> None:
        if errors:
            raise errors[0]

    return frames(), raise_error
