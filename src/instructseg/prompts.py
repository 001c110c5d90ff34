"""Prompt templates of each task: the paper's (Table 10) and the released ones, for both orders of the blocks.

Placeholders: <temporal> OVP tokens, <image> visual tokens, <refer> the instruction, <seg> the mask tokens, {answer}
the assistant's text before the mask tokens. They are cut out of the template before any user text is put in, so an
instruction that contains one of them is read as plain words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from instructseg.types import Task

SEG_TOKEN = "[SEG]"
PLACEHOLDERS = re.compile(r"(<temporal>|<image>|<refer>|<seg>)")

RELEASED_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

TASK_NAMES = {
    Task.RES: "Referring Expression Segmentation on the image",
    Task.REASON_SEG: "Reasoning Segmentation on the image",
    Task.RVOS: "Referring Video Object Segmentation on the video",
    Task.REASON_VOS: "Reasoning Video Object Segmentation on the video",
}

_RELEASED_IMAGE = (
    "This is an image <temporal>\n<image>\n, please doing {kind} Segmentation according to the following "
    "instruction{why}:\n<refer>"
)
_RELEASED_VIDEO = (
    "There are reference frames and key frame <temporal>\n<image>\n. Please doing {kind} Segmentation according to "
    "the following instruction.\nThis is all the instruction: <refer>\n"
)


def template(prompt_set: str, task: Task, block_order: str, answer: str = SEG_TOKEN, explain: bool = False) -> str:
    """The whole prompt of a segmentation task up to its mask tokens, with placeholders.

    `prompt_set` is "paper" or "released", `block_order` "released" or "image_first". The released set exists in its
    own order only; asking it image-first raises ValueError. `explain` asks for a reason too; only the released set
    has words for that, on photos. Sources: Table 10; released code facts 1.3.
    """
    if task is Task.CHAT:
        raise ValueError("conversation has no mask tokens; use chat_template()")
    if prompt_set == "released":
        if block_order != "released":
            raise ValueError("the released templates put the references first; set block_order='released'")
        human = _RELEASED_VIDEO if task.is_video else _RELEASED_IMAGE
        why = " and explain why" if explain else ""
        human = human.format(kind="Reasoning" if task.is_reasoning else "Referring", why=why)
        return f"{RELEASED_SYSTEM} USER: {human} ASSISTANT: \nSure, the segmentation result is {answer}<seg>"
    task_line = f"You need to perform {TASK_NAMES[task]} according to the Text Prompt.\n"
    blocks = f"<image>\n{task_line}<temporal>" if block_order == "image_first" else f"<temporal><image>\n{task_line}"
    return f"USER: {blocks}<refer> ASSISTANT: {answer}<seg>"


def chat_template(prompt_set: str = "paper") -> str:
    """A one-turn conversation about the image: <refer> is the question, the assistant's answer follows."""
    system = f"{RELEASED_SYSTEM} " if prompt_set == "released" else ""
    return f"{system}USER: <image>\n<refer> ASSISTANT:"


def join_expressions(expressions: Sequence[str], task: Task) -> str:
    """The released wording of an object's expressions as one instruction.

    Referring tasks join all of them, each with a full stop; reasoning tasks ask the first as it is, on videos without
    the "(s)" of its authors.
    """
    if task.is_reasoning:
        return expressions[0].replace("(s)", "") if task.is_video else expressions[0]
    return " ".join(f"{expression}." for expression in expressions)


def split_placeholders(text: str) -> list[str]:
    """Cut a template at its placeholders, keeping them and dropping empty pieces."""
    return [piece for piece in PLACEHOLDERS.split(text) if piece]


def format_instruction(text: str, prompt_set: str) -> str:
    """The text of <refer>: whitespace collapsed; in the paper set a leading space makes the first word whole."""
    text = " ".join(text.split())
    return text if prompt_set == "released" else f" {text}"


QUESTION_WORDS = {"what", "which", "who", "whose", "where", "why", "how", "when", "if", "can", "could", "is"}
REASONING_WORDS = 16


def guess_task(instruction: str, video: bool = False) -> Task:
    """Referring or reasoning by the form of the instruction: a question or a long sentence asks for reasoning.

    "where is the cup" names its object, so it stays a referring expression.
    """
    text = instruction.strip().lower()
    first = text.split(maxsplit=1)[0].split("'")[0].rstrip(",") if text else ""
    question = first in QUESTION_WORDS and not text.startswith("where is the")
    reasoning = question or len(text.split()) > REASONING_WORDS
    if video:
        return Task.REASON_VOS if reasoning else Task.RVOS
    return Task.REASON_SEG if reasoning else Task.RES
