"""The task of each instruction, and which instructions share one row of the language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from instructseg.model.checks import check_task
from instructseg.prompts import guess_task
from instructseg.types import Task


@dataclass(frozen=True)
class InstructionGroup:
    """Instructions in one row of the language model; `members` are their indices. They share the prompt's prefix."""

    task: Task
    members: tuple[int, ...]


def choose_video_tasks(task: Task | str | None, instructions: Sequence[str]) -> tuple[Task, ...]:
    """The task of each instruction: `task` for all, or with None inferred from each instruction's form.

    An image task ("res", "reason_seg") segments every frame as a photo, which is its own reference frame.
    Raises InputError unless the task is a segmentation task.
    """
    if task is None:
        return tuple(guess_task(text, video=True) for text in instructions)
    return (check_task(task),) * len(instructions)


def group_instructions(tasks: Sequence[Task], shared_prefix: bool) -> list[InstructionGroup]:
    """One group per task where instructions can share a prefix (image-first block order), else one per instruction."""
    if not shared_prefix:
        return [InstructionGroup(task, (index,)) for index, task in enumerate(tasks)]
    return [
        InstructionGroup(task, tuple(index for index, other in enumerate(tasks) if other is task))
        for task in dict.fromkeys(tasks)
    ]
