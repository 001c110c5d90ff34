"""From clips to training samples: a key frame that is annotated, and reference frames around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from instructseg.errors import DataError
from instructseg.types import Expression, Sample

_JUMPS = (2, 9)  # of the released code: how many frames apart neighbouring frames may be, at most
_REVERSED = 0.3  # share of the clips that run backwards, likewise


class ClipSampler:
    """Training samples from clips; `sample(epoch, index)` depends on the seed, the epoch and the index only.

    Every clip comes once before any comes again. See `draw_clip` for what a sample is.
    """

    def __init__(
        self,
        clips: Sequence[Sample],
        references: int = 4,
        expressions: int = 4,
        empty_share: float = 0.1,
        seed: int = 0,
    ) -> None:
        if not len(clips):
            raise DataError("there are no clips to draw from; give at least one annotated clip")
        self.clips, self.references, self.expressions = clips, references, expressions
        self.empty_share, self.seed = empty_share, seed

    def sample(self, epoch: int, index: int) -> Sample:
        """One clip with its key and reference frames decoded."""
        turn, place = divmod(index, len(self.clips))
        order = np.random.default_rng((self.seed, epoch, turn, 0)).permutation(len(self.clips))
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        clip = self.clips[int(order[place])]
        drawn = draw_clip(clip, rng, self.references, self.expressions, self.empty_share)
        return replace(drawn, id=f"{clip.id}#{epoch}.{index}")


def draw_clip(
    clip: Sample, rng: np.random.Generator, references: int = 4, expressions: int = 4, empty_share: float = 0.1
) -> Sample:
    """A key frame with up to `references` others (T_r of section 3.2), and up to `expressions` of the clip's.

    One expression is drawn first and the key frame shows its target, except for a share `empty_share` of the samples,
    whose key frame is any annotated one. Others are drawn beside it; what is not in the key frame has mask None ("no
    target"). Masks have the size of the frames. Raises DataError when the truth is not public or no frame shows
    anything that the expressions mean.
    """
    known = [each for each in clip.expressions if each.masks is not None]
    if not known:
        raise DataError(f"clip {clip.id} has no public masks; draw training samples from a split that has them")
    order = [known[at] for at in rng.permutation(len(known))]
    key, lead = _key_frame(clip, order, rng, bool(rng.random() < empty_share))
    chosen = [lead, *(each for each in order if each is not lead and each.masks[key] is not None)][:expressions]
    places = draw_frames(len(clip.frames), key, references, rng)
    frames = tuple(clip.frames[place] for place in places)
    size = frames[0].shape[:2]
    return replace(
        clip,
        frames=frames,
        expressions=tuple(_at_key(each, key, size) for each in chosen),
        key=places.index(key),
        frame_names=tuple(clip.frame_names[place] for place in places) if clip.frame_names else (),
    )


def draw_frames(length: int, key: int, references: int, rng: np.random.Generator) -> list[int]:
    """The key frame and `references` others near it, in the order of time or (30 %) against it.

    The key frame is in the middle as far as the clip's ends allow, and neighbouring frames are at most J frames apart
    on average, J drawn from 2..9. So does the released code, by drawing until the middle frame of a random walk
    happens to show the target; around the key it needs no luck. Clips with too few frames give all they have.
    """
    references = min(references, length - 1)
    before = min(max(references // 2, references - (length - 1 - key)), key)
    jump = int(rng.integers(_JUMPS[0], _JUMPS[1] + 1))
    earlier = _some(range(max(0, key - jump * before), key), before, rng)
    after = references - before
    later = _some(range(key + 1, min(length, key + 1 + jump * after)), after, rng)
    places = [*earlier, key, *later]
    return places[::-1] if rng.random() < _REVERSED else places


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (height, width) at another size: each pixel takes the nearest one's value."""
    if mask.shape == tuple(size):
        return mask
    return cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)


def _key_frame(
    clip: Sample, expressions: Sequence[Expression], rng: np.random.Generator, any_frame: bool
) -> tuple[int, Expression]:
    """A frame, and the first of the expressions whose target it shows (or that has no target, or if `any_frame`)."""
    order = [int(at) for at in rng.permutation(len(clip.frames))]
    for expression in expressions:
        content = any_frame or not expression.details.get("objects", True)
        for at in order:
            mask = expression.masks[at]
            if mask is not None and (content or mask.any()):
                return at, expression
    names = ", ".join(f"{each.id!r} ({each.text})" for each in expressions[:3])
    raise DataError(f"clip {clip.id}: no annotated frame shows what its expressions mean, such as {names}")


def _at_key(expression: Expression, key: int, size: tuple[int, int]) -> Expression:
    mask = expression.masks[key]
    return replace(expression, mask=resize_mask(mask, size) if mask.any() else None, masks=None)


def _some(places: range, count: int, rng: np.random.Generator) -> list[int]:
    return sorted(int(place) for place in rng.choice(np.array(places), count, replace=False)) if count else []
