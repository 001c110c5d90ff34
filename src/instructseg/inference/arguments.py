"""What people pass to the Segmenter, checked before a model is loaded or a photo is read."""

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


def choose_device(name: str | torch.device) -> torch.device:
    """The device of a name; "auto" is a GPU if there is one. Raises InputError when it is not here."""
    if isinstance(name, str) and name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device {str(name)!r} is not one that models run on; use auto, cpu, cuda, cuda:0 or mps")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {str(name)!r} was asked for, but torch sees no CUDA GPU here; use device='cpu'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"device {str(name)!r} was asked for, but torch sees {count} CUDA GPUs here; use cuda:0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {str(name)!r} was asked for, but torch sees no Apple GPU here; use device='cpu'")
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of a name; "auto" is bfloat16 on a GPU, else float32. Raises InputError for another name."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if not isinstance(name, str) or name not in DTYPES:
        raise InputError(f"dtype {name!r} is not one of auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def check_attention(name: str | None) -> None:
    """Raises InputError unless `name` is None or an attention implementation that takes our block mask."""
    if name is not None and name not in ATTENTION:
        raise InputError(f"attention {name!r} is not one that the model can use; give {' or '.join(ATTENTION)}")


def choose_task(task: Task | str | None, instruction: str) -> Task:
    """The task asked for, or the one the instruction's form tells; InputError unless it is one for photos."""
    check_text(instruction)
    if task is None:
        return guess_task(instruction)
    if not isinstance(task, str) or task not in PHOTO_TASKS:
        raise InputError(f"task is {task!r}; for photos it is one of {', '.join(kind.value for kind in PHOTO_TASKS)}")
    return Task(task)


def list_texts(instruction: Any, photos: int | None = None) -> list[str]:
    """The instructions of a call: one for all, or a list of them, for one photo (None) or one for each of many.

    Raises InputError when it is neither, when an instruction says nothing, or when the counts differ.
    """
    if isinstance(instruction, str):
        texts = [instruction] * (1 if photos is None else photos)
    elif isinstance(instruction, list | tuple):
        texts = list(instruction)
    else:
        raise InputError(
            f"the instruction is {type(instruction).__name__}; a string or a list of strings was needed, "
            'e.g. "the dog on the left"'
        )
    for text in texts:
        check_text(text)
    if photos is not None and len(texts) != photos:
        raise InputError(f"{photos} photos and {len(texts)} instructions; give one instruction per photo")
    return texts
