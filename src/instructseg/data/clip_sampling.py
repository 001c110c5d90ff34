"""Training samples from annotated clips: a key frame with reference frames around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from instructseg.errors import DataError
from instructseg.types import Expression, Sample

_JUMPS = (2, 9)  # range of the maximum mean gap between neighbouring frames, as in the released code
_REVERSED_SHARE = 0.3  # share of samples whose frames are in reverse order, as in the released code

Masks = Sequence[np.ndarray | None]


class ClipSampler:
    """Draws training samples from clips; each sample depends only on the seed, the epoch and the index.

    Every clip is used once before any is used again; `draw_clip` builds the sample. Raises DataError without clips.

    clips: samples with masks over their frames, such as those of a clip reader.
    references: number of reference frames T_r per sample, at least 0; short clips give fewer.
    expressions: maximum number of expressions per sample, at least 1.
    empty_share: share of samples, 0..1, whose key frame need not show the target.
    seed: seed of all random choices.
    no_target: False: expressions without an object, those whose target is not in the key frame, and clips that have no
        others are left out, as in the released code; `empty_share` then has no effect.
    """

    def __init__(
        self,
        clips: Sequence[Sample],
        references: int = 4,
        expressions: int = 4,
        empty_share: float = 0.1,
        seed: int = 0,
        no_target: bool = True,
    ) -> None:
        if not len(clips):
            raise DataError("expected at least one annotated clip, got none; choose a split with public masks")
        self.clips, self.references, self.expressions = clips, references, expressions
        self.empty_share, self.seed, self.no_target = empty_share, seed, no_target

    def sample(self, epoch: int, index: int) -> Sample:
        """One sample with its key and reference frames decoded."""
        cycle, position = divmod(index, len(self.clips))
        order = np.random.default_rng((self.seed, epoch, cycle, 0)).permutation(len(self.clips))
        rng = np.random.default_rng((self.seed, epoch, index, 1))
        if self.no_target:
            drawn = draw_clip(
                self.clips[int(order[position])], rng, self.references, self.expressions, self.empty_share
            )
        else:
            clip = self._with_target(np.roll(order, -position))
            drawn = _visible(draw_clip(clip, rng, self.references, len(clip.expressions), 0.0), self.expressions)
        return replace(drawn, id=f"{drawn.id}#{epoch}.{index}")

    def _with_target(self, order: np.ndarray) -> Sample:
        """The first clip with an expression that has an object, without its other expressions."""
        for index in order:
            clip = self.clips[int(index)]
            expressions = tuple(expression for expression in clip.expressions if _has_object(expression))
            if expressions:
                return replace(clip, expressions=expressions)
        raise DataError("expected clips with a target, got expressions without one alone; set data.no_target=true")


def draw_clip(
    clip: Sample, rng: np.random.Generator, references: int = 4, expressions: int = 4, empty_share: float = 0.1
) -> Sample:
    """A key frame with up to `references` reference frames (T_r of section 3.2) and up to `expressions` expressions.

    One expression is drawn first, and the key frame shows its target. In a share `empty_share` of the samples the key
    frame is any annotated frame instead. Further expressions are added at random; those whose target is not in the key
    frame have mask None ("no target"). Masks have the size of the frames. Raises DataError if the clip's ground truth
    is not public, or if no frame shows the target of any expression.
    """
    annotated = [(expression, expression.masks) for expression in clip.expressions if expression.masks is not None]
    if not annotated:
        raise DataError(f"clip {clip.id} has no public masks; draw training samples from a split that has them")
    order = [annotated[index] for index in rng.permutation(len(annotated))]
    key, lead = _key_frame(clip, order, rng, bool(rng.random() < empty_share))
    in_key_frame = [(expression, masks[key]) for expression, masks in order]
    in_key_frame.sort(key=lambda pair: pair[0] is not lead)  # the first expression leads, the others keep their order
    chosen = [(expression, mask) for expression, mask in in_key_frame if mask is not None][:expressions]
    indices = draw_frames(len(clip.frames), key, references, rng)
    frames = tuple(clip.frames[index] for index in indices)
    size = frames[0].shape[:2]
    return replace(
        clip,
        frames=frames,
        expressions=tuple(_in_key_frame(expression, mask, size) for expression, mask in chosen),
        key=indices.index(key),
        frame_names=tuple(clip.frame_names[index] for index in indices) if clip.frame_names else (),
    )


def draw_frames(length: int, key: int, references: int, rng: np.random.Generator) -> list[int]:
    """The indices of the key frame and of `references` nearby frames, in temporal or (30 %) reverse order.

    The key frame is in the middle unless it is close to an end of the clip. Neighbouring frames are at most J frames
    apart on average, J drawn from 2..9. The released code draws random walks until the middle frame shows the target;
    drawing around a chosen key frame gives the same spacing without rejection. Short clips give all their frames.
    """
    references = min(references, length - 1)
    before = min(max(references // 2, references - (length - 1 - key)), key)
    jump = int(rng.integers(_JUMPS[0], _JUMPS[1] + 1))
    earlier = _sorted_choice(range(max(0, key - jump * before), key), before, rng)
    after = references - before
    later = _sorted_choice(range(key + 1, min(length, key + 1 + jump * after)), after, rng)
    indices = [*earlier, key, *later]
    return indices[::-1] if rng.random() < _REVERSED_SHARE else indices


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A bool mask (height, width) resized to `size` (height, width) by nearest neighbour."""
    if mask.shape == tuple(size):
        return mask
    return cv2.resize(mask.astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)


def _key_frame(
    clip: Sample, annotated: Sequence[tuple[Expression, Masks]], rng: np.random.Generator, any_frame: bool
) -> tuple[int, Expression]:
    """The index of a random frame, and the first expression whose target it shows.

    For an expression without a target, or with `any_frame`, any annotated frame qualifies.
    """
    order = [int(index) for index in rng.permutation(len(clip.frames))]
    for expression, masks in annotated:
        may_be_empty = any_frame or not _has_object(expression)
        for index in order:
            mask = masks[index]
            if mask is not None and (may_be_empty or mask.any()):
                return index, expression
    names = ", ".join(f"{expression.id!r} ({expression.text})" for expression, _ in annotated[:3])
    raise DataError(
        f"clip {clip.id}: no annotated frame shows the target of any expression, such as {names}; "
        "check the dataset with `instructseg data check`"
    )


def _has_object(expression: Expression) -> bool:
    """False for expressions that are known to have no target in any frame."""
    return bool(expression.details.get("objects", True))


def _visible(sample: Sample, count: int) -> Sample:
    """The sample with at most `count` of its expressions, of those whose target is in the key frame."""
    return replace(sample, expressions=tuple(each for each in sample.expressions if each.mask is not None)[:count])


def _in_key_frame(expression: Expression, mask: np.ndarray, size: tuple[int, int]) -> Expression:
    return replace(expression, mask=resize_mask(mask, size) if mask.any() else None, masks=None)


def _sorted_choice(indices: range, count: int, rng: np.random.Generator) -> list[int]:
    return sorted(int(index) for index in rng.choice(np.array(indices), count, replace=False)) if count else []
