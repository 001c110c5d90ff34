"""Prompt templates of each task: the paper's (Table 10) and the released ones, for both orders of the blocks.

Placeholders: <temporal> OVP tokens, <image> visual tokens, <refer> the instruction, <seg> the mask tokens. A template
is split at its placeholders before user text is inserted, so a placeholder inside an instruction stays plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from instructseg.types import Task

SEG_TOKEN = "[SEG]"
ASSISTANT = " ASSISTANT:"
"""The text before the assistant's reply in every template."""

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


def segmentation_template(prompt_set: str, task: Task, block_order: str, explain: bool = False) -> str:
    """The prompt template of a segmentation task, up to and including its mask tokens.

    Args:
        prompt_set: "paper" (Table 10) or "released" (the authors' code).
        block_order: "image_first" or "released" (references first); the released set exists in its own order only.
        explain: also ask for an explanation; only the released image template supports this.

    Raises ValueError for `Task.CHAT` and for the released set in the image-first order.
    """
    if task is Task.CHAT:
        raise ValueError("expected a segmentation task, got chat, which has no mask tokens; use chat_template()")
    if prompt_set == "released":
        if block_order != "released":
            raise ValueError(
                f"expected block_order 'released' for the released templates, got {block_order!r}; "
                "set block_order='released'"
            )
        human = _RELEASED_VIDEO if task.is_video else _RELEASED_IMAGE
        why = " and explain why" if explain else ""
        human = human.format(kind="Reasoning" if task.is_reasoning else "Referring", why=why)
        return f"{RELEASED_SYSTEM} USER: {human}{ASSISTANT} \nSure, the segmentation result is {SEG_TOKEN}<seg>"
    task_line = f"You need to perform {TASK_NAMES[task]} according to the Text Prompt.\n"
    blocks = f"<image>\n{task_line}<temporal>" if block_order == "image_first" else f"<temporal><image>\n{task_line}"
    return f"USER: {blocks}<refer>{ASSISTANT} {SEG_TOKEN}<seg>"


def chat_template(prompt_set: str = "paper") -> str:
    """A one-turn conversation about the image: <refer> is the question, the assistant's reply follows."""
    system = f"{RELEASED_SYSTEM} " if prompt_set == "released" else ""
    return f"{system}USER: <image>\n<refer>{ASSISTANT}"


def join_expressions(expressions: Sequence[str], task: Task) -> str:
    """Join an object's expressions into one instruction, as the released code does.

    Referring tasks use all expressions, each ended by a full stop. Reasoning tasks use the first one; for videos, the
    literal "(s)" in the annotation is removed.
    """
    if task.is_reasoning:
        return expressions[0].replace("(s)", "") if task.is_video else expressions[0]
    return " ".join(f"{expression}." for expression in expressions)


def split_placeholders(text: str) -> list[str]:
    """Split a template at its placeholders, keeping them and dropping empty parts."""
    return [part for part in PLACEHOLDERS.split(text) if part]


def format_instruction(text: str, prompt_set: str) -> str:
    """The text that replaces <refer>, with whitespace collapsed. The paper set adds a leading space, so that the first
    word is tokenized like any other word of a sentence."""
    text = " ".join(text.split())
    return text if prompt_set == "released" else f" {text}"


REASONING_WORDS = 16
"""Instructions longer than this number of words count as reasoning."""

_WH_WORDS = "what|which|who|whom|whose|where|why|how|when"
_QUESTION_VERBS = "is|are|was|were|does|did|could|would|should"
# Verbs that open a question only when a subject follows: "can I sit here?", but "can of soda", "will smith", "do not
# enter".
_AMBIGUOUS_VERBS = "am|can|do|has|have|may|might|must|shall|will"
_SUBJECTS = (
    "i|you|he|she|it|we|they|this|these|those|there|the|an?|any(?:one|body|thing)?|some(?:one|body|thing)?|one|"
    "all|both|each|every|people|my|your|his|her|its|our|their"
)
_DETERMINERS = "the|an?|this|that|these|those|my|your|his|her|its|our|their"
_QUESTION_OPENING = re.compile(
    rf"(?:(?:in|on|at|by|for|from|of|to|under|with)\s+)?(?:{_WH_WORDS})\b|(?:{_QUESTION_VERBS}|if)\b|"
    rf"(?:{_AMBIGUOUS_VERBS})\s+(?:{_SUBJECTS})\b"
)
# "where is the cup" names its object; "where is the best place to sit" does not: there "to" precedes a verb.
_LOCATING = re.compile(rf"where(?:'s|\s+is|\s+are)\s+(?:{_DETERMINERS})\b(?!.*\bto\s+(?!(?:{_DETERMINERS})\b))")
_REQUEST = re.compile(
    r"^(?:please\s+)?(?:(?:can|could|will|would)\s+you\s+(?:please\s+)?(?:help\s+me\s+)?)?"
    r"(?:cut\s+out|detect|find|give\s+me|highlight|identify|locate|look\s+for|mark|outline|pick(?:\s+out)?|"
    r"point\s+(?:at|out|to)|segment|select|show(?:\s+me|\s+us)?|tell\s+me)\s+"
)
# Words that are rare in the middle of a description, unlike "which", "who" and "where": "the bench where she sits".
_QUESTION_WORD = re.compile(r"\b(?:what|how|why|whom|whose)\b")
_LATER_CLAUSE = re.compile(r"[,;:.!?]\s+(?:and\s+|so\s+|then\s+)?")
# Without a question mark, "who" and "which" after a comma open a relative clause: "a man, who is tall".
_WH_CLAUSE = re.compile(r"(?:what|where|why|how)\b")


def guess_task(instruction: str, video: bool = False) -> Task:
    """Classify an instruction as referring or reasoning by its form: questions and long sentences are reasoning.

    Requests such as "can you find the dog?" and "where is the cup?" name their object, so they are referring. `video`
    selects the video tasks instead of the image tasks.
    """
    reasoning = _is_question(instruction) or len(instruction.split()) > REASONING_WORDS
    if video:
        return Task.REASON_VOS if reasoning else Task.RVOS
    return Task.REASON_SEG if reasoning else Task.RES


def _is_question(instruction: str) -> bool:
    """Whether any clause has the form of an English question."""
    text = " ".join(instruction.lower().replace("’", "'").split()).strip("\"'“”‘ ")
    has_mark = text.endswith("?")
    text = re.sub(r"n't\b", "", _REQUEST.sub("", text))
    if _LOCATING.match(text):
        return False
    if has_mark and _QUESTION_WORD.search(text):
        return True
    first, *later = _LATER_CLAUSE.split(text)
    pattern = _QUESTION_OPENING if has_mark else _WH_CLAUSE
    return bool(_QUESTION_OPENING.match(first)) or any(pattern.match(clause) for clause in later)
