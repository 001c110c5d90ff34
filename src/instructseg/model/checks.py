"""What people hand to the processor, checked before anything is computed from it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np

from instructseg.errors import InputError
from instructseg.types import Task

EXAMPLES = {
    "instruction": 'say what to segment, e.g. "the dog on the left"',
    "question": 'ask something, e.g. "what is on the table?"',
}
# Unicode's separators, control and format characters: a text of these alone says nothing.
INVISIBLE = {"Zs", "Zl", "Zp", "Cc", "Cf"}


def check_text(text: object, what: str = "instruction") -> None:
    """Raises InputError unless `text` is a string that UTF-8 can hold, with something to see in it."""
    if not isinstance(text, str):
        raise InputError(f"the {what} is {type(text).__name__}, a string was needed; {EXAMPLES[what]}")
    if all(unicodedata.category(letter) in INVISIBLE for letter in text):
        raise InputError(f"the {what} is empty; {EXAMPLES[what]}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        broken = ascii(text[error.start])
        raise InputError(f"the {what} holds half a letter, {broken}; write it in UTF-8") from None


def check_limits(max_masks: object, threshold: object) -> None:
    """Raises InputError unless `max_masks` is a whole number from 1 and `threshold` one in 0..1, or None."""
    if not isinstance(max_masks, Integral) or isinstance(max_masks, bool) or max_masks < 1:
        raise InputError(f"max_masks is {max_masks!r}; a whole number of at least 1 is needed")
    if threshold is None:
        return
    if not isinstance(threshold, Real) or isinstance(threshold, bool) or not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold!r}; a number from 0 (always answer) to 1 is needed")


def check_task(task: Task | str) -> Task:
    """The task by its name. Raises InputError unless it is one that ends in masks."""
    known = [kind for kind in Task if kind is not Task.CHAT]
    if not isinstance(task, str) or task not in known:
        raise InputError(f"task is {task!r}; it is one of {', '.join(kind.value for kind in known)}")
    return Task(task)


def check_asked(instructions: object) -> None:
    """Raises InputError unless one visual's instructions are a list or tuple with at least one of them."""
    if not isinstance(instructions, list | tuple) or not instructions:
        raise InputError(f"the instructions of a visual are {instructions!r:.60}; a list of at least one was needed")


def check_batch(frames: Sequence, instructions: Sequence, tasks: Sequence, keys: Sequence[int]) -> None:
    """Raises InputError unless there is a visual, and for each one a list of instructions, a task and a key frame."""
    counts = [len(frames), len(instructions), len(tasks), len(keys)]
    if len(set(counts)) > 1 or not counts[0]:
        given = "{} visuals, {} lists of instructions, {} tasks and {} key frames".format(*counts)
        raise InputError(f"the batch has {given}; at least one visual, and one of the others for each, was needed")
    for visual, key in zip(frames, keys, strict=True):
        if not 0 <= key < len(visual):
            raise InputError(f"the key frame is number {key} of {len(visual)} frames; give an index of one of them")


def check_frame(frame: object) -> np.ndarray:
    """The frame as it is. Raises InputError unless it is RGB uint8 (height, width, 3) with at least one pixel."""
    if not isinstance(frame, np.ndarray):
        raise InputError(f"a frame is {type(frame).__name__}; an RGB array uint8 (height, width, 3) was needed")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        given = f"a frame is {frame.dtype} {frame.shape}"
        raise InputError(f"{given}; RGB uint8 (height, width, 3) was needed; media.image.load_image makes it")
    return frame
