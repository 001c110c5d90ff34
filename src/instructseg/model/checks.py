"""Validation of the processor's arguments, before anything is computed."""

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

INVISIBLE = {"Zs", "Zl", "Zp", "Cc", "Cf"}
"""Unicode categories of separators, control and format characters: a text made only of these looks empty."""


def check_text(text: object, name: str = "instruction") -> None:
    """Raises InputError unless `text` is a string with a visible character that UTF-8 can encode."""
    if not isinstance(text, str):
        raise InputError(f"expected the {name} to be a string, got {type(text).__name__}; {EXAMPLES[name]}")
    if all(unicodedata.category(letter) in INVISIBLE for letter in text):
        raise InputError(f"expected a non-empty {name}, got an empty text; {EXAMPLES[name]}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        broken = ascii(text[error.start])
        raise InputError(f"expected the {name} to be UTF-8, got a lone surrogate {broken}; write it in UTF-8") from None


def check_limits(max_masks: object, threshold: object) -> None:
    """Raises InputError unless `max_masks` is an integer >= 1 or None, and `threshold` a number in 0..1 or None."""
    number = 1 if max_masks is None else max_masks
    if not isinstance(number, Integral) or isinstance(number, bool) or int(number) < 1:
        raise InputError(
            f"expected max_masks to be an integer of at least 1, got {max_masks!r}; None: as the instruction asks"
        )
    if threshold is None:
        return
    if not isinstance(threshold, Real) or isinstance(threshold, bool) or not 0 <= float(threshold) <= 1:
        raise InputError(f"expected threshold to be a number in 0..1, got {threshold!r}; 0 disables it")


def check_task(task: Task | str) -> Task:
    """The task named `task`. Raises InputError unless it is a segmentation task."""
    known = [kind for kind in Task if kind is not Task.CHAT]
    if not isinstance(task, str) or task not in known:
        names = ", ".join(kind.value for kind in known)
        raise InputError(f"expected task to be one of {names}, got {task!r}")
    return Task(task)


def check_instructions(instructions: object) -> None:
    """Raises InputError unless the instructions of one visual are a list or tuple with at least one of them."""
    if not isinstance(instructions, list | tuple) or not instructions:
        raise InputError(
            f"expected a list of at least one instruction for a visual, got {instructions!r:.60}; "
            'give a list, e.g. ["the dog on the left"]'
        )


def check_batch(frames: Sequence, instructions: Sequence, tasks: Sequence, keys: Sequence[int]) -> None:
    """Raises InputError unless there is a visual, and for each one a list of instructions, a task and a key frame."""
    counts = [len(frames), len(instructions), len(tasks), len(keys)]
    if len(set(counts)) > 1 or not counts[0]:
        actual = "{} visuals, {} lists of instructions, {} tasks and {} key frames".format(*counts)
        raise InputError(
            f"expected at least one visual, each with a list of instructions, a task and a key frame, got {actual}"
        )
    for visual, key in zip(frames, keys, strict=True):
        if not 0 <= key < len(visual):
            raise InputError(f"expected key to be the index of one of {len(visual)} frames, got {key}")


def check_frame(frame: object) -> np.ndarray:
    """Return the frame. Raises InputError unless it is RGB uint8 (height, width, 3) with at least one pixel."""
    expected = "expected a frame to be an RGB uint8 array (height, width, 3)"
    if not isinstance(frame, np.ndarray):
        raise InputError(f"{expected}, got {type(frame).__name__}; load it with media.image.load_image")
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise InputError(f"{expected}, got {frame.dtype} {frame.shape}; load it with media.image.load_image")
    return frame
