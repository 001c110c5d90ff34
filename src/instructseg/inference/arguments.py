"""Validation of the Segmenter's arguments, before a model is loaded or a photo is read."""

from __future__ import annotations

from typing import Any

import torch

from instructseg.errors import InputError
from instructseg.model.checks import check_text
from instructseg.prompts import guess_task
from instructseg.types import Task

PHOTO_TASKS = (Task.RES, Task.REASON_SEG)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ATTENTION = ("sdpa", "eager")
"""Attention implementations that accept the block mask of packed instructions."""


def choose_device(name: str | torch.device) -> torch.device:
    """The torch device named `name`; "auto" is a GPU if there is one. Raises InputError when it is not available."""
    if isinstance(name, str) and name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name) if isinstance(name, str | torch.device) else None
    except (RuntimeError, ValueError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"expected device to be auto, cpu, cuda, cuda:0 or mps, got {str(name)!r:.60}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"expected a CUDA GPU for device {str(name)!r}, but torch finds none; use device='cpu'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"expected device {str(name)!r} to exist, but torch finds {count} CUDA GPU(s); use cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"expected an Apple GPU for device {str(name)!r}, but torch finds none; use device='cpu'")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The torch dtype named `name`; "auto" is bfloat16 on a GPU, else float32. Raises InputError if unknown."""
    if isinstance(name, str) and name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if not isinstance(name, str) or name not in DTYPES:
        raise InputError(f"expected dtype to be one of auto, {', '.join(DTYPES)}, got {name!r:.60}")
    return DTYPES[name]


def check_attention(name: str | None) -> None:
    """Raises InputError unless `name` is None or one of `ATTENTION`."""
    if name is not None and (not isinstance(name, str) or name not in ATTENTION):
        raise InputError(f"expected attention to be {' or '.join(ATTENTION)}, got {name!r:.60}")


def choose_task(task: Task | str | None, instruction: str) -> Task:
    """The given task, or the one that the form of the instruction suggests (`guess_task`).

    Raises InputError unless it is a photo task, and for an empty instruction.
    """
    check_text(instruction)
    if task is None:
        return guess_task(instruction)
    if not isinstance(task, str) or task not in PHOTO_TASKS:
        names = ", ".join(kind.value for kind in PHOTO_TASKS)
        raise InputError(f"expected task to be one of {names} for photos, got {task!r}; pass None to infer it")
    return Task(task)


def list_texts(instruction: Any, photos: int | None = None) -> list[str]:
    """The instructions of a call as a list.

    Args:
        instruction: a string, or a list or tuple of strings.
        photos: None for one photo with any number of instructions; else the number of photos, each with one
            instruction; a single string is then repeated.

    Raises InputError for a wrong type, an empty instruction, or mismatched counts.
    """
    if isinstance(instruction, str):
        texts = [instruction] * (1 if photos is None else photos)
    elif isinstance(instruction, list | tuple):
        texts = list(instruction)
    else:
        raise InputError(
            f"expected the instruction to be a string or a list of strings, got {type(instruction).__name__}; "
            'pass text, e.g. "the dog on the left"'
        )
    for text in texts:
        check_text(text)
    if photos is not None and len(texts) != photos:
        actual = f"{photos} photos and {len(texts)} instructions"
        raise InputError(f"expected one instruction per photo, got {actual}; pass one per photo, or one string for all")
    return texts
