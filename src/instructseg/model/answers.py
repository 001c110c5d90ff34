"""Prompts with the assistant's words in them: what the text loss L_t (Eq. 4) learns, and what a conversation reads."""

from __future__ import annotations

from collections.abc import Sequence

from instructseg.model.layout import IGNORE, Block, Piece
from instructseg.model.processing import InstructSegProcessor
from instructseg.prompts import SEG_TOKEN, chat_template, split_placeholders, template
from instructseg.types import Task

ASSISTANT = " ASSISTANT:"
# The released code starts its labels two tokens before the first answer.
RELEASED_LEAD = 2


def answered(processor: InstructSegProcessor, instruction: str, task: Task, explanation: str = "") -> list[Piece]:
    """A segmentation prompt with labels on the assistant's words and the end token.

    The answer may explain itself before its [SEG] token. `processor.prompt` makes the same without labels and end.
    """
    blocks = {block.value: block for block in Block if block.value}
    text = template(processor.prompt_set, task, processor.block_order, explain=bool(explanation))
    pieces = []
    for part in split_placeholders(text):
        block = blocks.get(part, Block.TEXT)
        if block is Block.INSTRUCTION:
            pieces.append(Piece(block, processor.instruction_ids(instruction)))
        elif block is Block.TEXT and ASSISTANT in part:
            pieces.append(_supervised(processor, part, explanation))
        elif block is Block.TEXT:
            pieces.append(Piece(block, processor.text_ids(part)))
        elif block is not Block.REFERENCES or processor.frame_tokens:
            pieces.append(Piece(block))
    return [*pieces, _end(processor)]


def conversation(
    processor: InstructSegProcessor, turns: Sequence[tuple[str, str | None]], photo: bool = True
) -> list[Piece]:
    """A conversation, about one image or none: (question, answer) in turn; the last answer may be None, to be written.

    Labels are on the answers and their end tokens. Special tokens in questions and answers are plain words. Line
    breaks stay, as in the released prompts: they tell the choices of a question apart. About an image, the first two
    pieces, the words before it and the image, are the same for all questions.
    """
    system = chat_template(processor.prompt_set).partition("<image>")[0]
    pieces = [Piece(Block.TEXT, processor.text_ids(system)), Piece(Block.IMAGE)] if photo else []
    for index, (question, answer) in enumerate(turns):
        opening = "USER: " if index else "\n" if photo else system
        asked = f"{opening}{question.strip()}{ASSISTANT}"
        if answer is None:
            pieces.append(Piece(Block.TEXT, processor.text_ids(asked, plain=True)))
            continue
        ids = processor.text_ids(f"{asked} {answer}", plain=True)
        start = _first_label(processor, asked, first=index == 0)
        pieces += [Piece(Block.TEXT, ids, (IGNORE,) * start + ids[start:]), _end(processor)]
    return pieces


def _supervised(processor: InstructSegProcessor, part: str, explanation: str) -> Piece:
    """The assistant's part of a template, ending in [SEG], with its labels."""
    ids = processor.text_ids(part)
    if explanation:
        stem, why = processor.text_ids(part.removesuffix(SEG_TOKEN)), processor.text_ids(explanation, plain=True)
        ids = (*stem, *why, *processor.text_ids(SEG_TOKEN))
    start = _first_label(processor, part[: part.index(ASSISTANT) + len(ASSISTANT)], first=True)
    return Piece(Block.TEXT, ids, (IGNORE,) * start + ids[start:])


def _first_label(processor: InstructSegProcessor, asked: str, first: bool) -> int:
    """How many tokens of a text that begins with `asked` have no label."""
    if processor.prompt_set == "released":
        return len(processor.text_ids(f"{asked} ", plain=True)) - (RELEASED_LEAD if first else 0)
    return len(processor.text_ids(asked, plain=True))


def _end(processor: InstructSegProcessor) -> Piece:
    """The end token; with the released prompts no token sees it, for it is their padding too."""
    ids = (processor.tokenizer.eos_token_id,)
    return Piece(Block.TEXT, ids, ids, seen=processor.prompt_set != "released")
