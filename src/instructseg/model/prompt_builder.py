"""PromptBuilder: the only code that turns a task and user text into token ids and labels.

Inference, training, chat and verification all build their prompts here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from transformers import PreTrainedTokenizerBase

from instructseg.errors import CheckpointError, InputError
from instructseg.model.checks import check_text
from instructseg.model.layout import IGNORE, Block, PromptSpan
from instructseg.prompts import (
    ASSISTANT,
    SEG_TOKEN,
    chat_template,
    format_instruction,
    segmentation_template,
    split_placeholders,
)
from instructseg.types import Task

MAX_INSTRUCTION_TOKENS = 512

PLACEHOLDERS = {block.value: block for block in Block if block.value}

RELEASED_LABEL_LEAD = 2
"""Number of tokens before the first reply that the released code also labels."""


class PromptBuilder:
    """Builds prompts as lists of `PromptSpan`, which `build_layout` lays out.

    Raises CheckpointError when the tokenizer has no [SEG] token.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompt_set: str, block_order: str, with_references: bool = True
    ) -> None:
        """
        Args:
            prompt_set: "paper" (Table 10) or "released".
            block_order: "image_first" or "released" (references first).
            with_references: False omits the block of OVP tokens, for models without a perceiver.
        """
        self.tokenizer, self.with_references = tokenizer, with_references
        self.prompt_set, self.block_order = prompt_set, block_order
        self.seg_id = _seg_id(tokenizer)
        self._templates: dict[tuple[Task, bool], list[PromptSpan]] = {}

    def segmentation(
        self, instruction: str, task: Task, explanation: str = "", labels: bool = False
    ) -> list[PromptSpan]:
        """The prompt of a segmentation task, up to its mask tokens.

        Args:
            instruction: what to segment; special tokens and placeholders in it are read as plain text.
            explanation: the assistant's text before its [SEG] token (ReasonSeg's training data).
            labels: also label the assistant's reply for the text loss (L_t of Eq. 4) and append the end token.

        Raises InputError for an instruction that is empty or longer than 512 tokens, ValueError for `Task.CHAT`.
        """
        ids = self.instruction_ids(instruction)
        spans = self._expand(task, explanation, labels) if explanation else self._cached_template(task, labels)
        return [replace(span, ids=ids) if span.block is Block.INSTRUCTION else span for span in spans]

    def explained_opening(self, instruction: str, task: Task) -> list[PromptSpan]:
        """The prompt of a segmentation task up to where the assistant's explanation begins, for generation.

        With the explanation, [SEG] and the mask tokens it is `segmentation(..., explanation)`. Raises as that does.
        """
        template = segmentation_template(self.prompt_set, task, self.block_order, explain=True)
        ids = self.instruction_ids(instruction)
        spans = []
        for part in split_placeholders(template.removesuffix(Block.MASKS.value).removesuffix(SEG_TOKEN)):
            block = PLACEHOLDERS.get(part, Block.TEXT)
            if block is Block.TEXT:
                spans.append(PromptSpan(block, self.text_ids(part)))
            elif block is not Block.REFERENCES or self.with_references:
                spans.append(PromptSpan(block, ids if block is Block.INSTRUCTION else ()))
        return spans

    def follow_up(self, question: str) -> list[PromptSpan]:
        """What follows the assistant's latest reply in a conversation: its end token and the next question."""
        request = f"USER: {question.strip()}{ASSISTANT}"
        return [replace(self._end(), labels=None), PromptSpan(Block.TEXT, self.text_ids(request, plain=True))]

    def conversation(self, turns: Sequence[tuple[str, str | None]], photo: bool = True) -> list[PromptSpan]:
        """A conversation about one image, or about none (`photo=False`), with labels on the replies.

        Args:
            turns: (question, reply) pairs; a reply of None leaves the prompt open for the model to continue.

        Replies and their end tokens have labels. Special tokens in questions and replies are read as plain text. Line
        breaks, which separate the choices of a question, are kept, as in the released prompts. With an image, the
        first two spans (the text before it, and the image) are the same for all questions.
        """
        system = chat_template(self.prompt_set).partition(Block.IMAGE.value)[0]
        spans = [PromptSpan(Block.TEXT, self.text_ids(system)), PromptSpan(Block.IMAGE)] if photo else []
        for index, (question, reply) in enumerate(turns):
            opening = "USER: " if index else "\n" if photo else system
            request = f"{opening}{question.strip()}{ASSISTANT}"
            if reply is None:
                spans.append(PromptSpan(Block.TEXT, self.text_ids(request, plain=True)))
                continue
            ids = self.text_ids(f"{request} {reply}", plain=True)
            labels = self._reply_labels(ids, request, first=index == 0)
            spans += [PromptSpan(Block.TEXT, ids, labels), self._end()]
        return spans

    def instruction_ids(self, instruction: str) -> tuple[int, ...]:
        """Token ids of an instruction, ending with [SEG]; special tokens in the instruction are read as plain text.

        Raises InputError for an instruction that is empty or longer than 512 tokens.
        """
        check_text(instruction)
        return (*self.limited_ids(format_instruction(instruction, self.prompt_set), "instruction"), self.seg_id)

    def limited_ids(self, text: str, name: str) -> tuple[int, ...]:
        """Token ids of user text, read as plain text. Raises InputError when there are more than 512."""
        ids = self.text_ids(text, plain=True)
        if len(ids) > MAX_INSTRUCTION_TOKENS:
            raise InputError(
                f"expected the {name} to have at most {MAX_INSTRUCTION_TOKENS} tokens, got {len(ids):,} tokens "
                f"({len(text.split()):,} words); shorten it"
            )
        return ids

    def text_ids(self, text: str, plain: bool = False) -> tuple[int, ...]:
        """Token ids of a text; `plain` reads special tokens in it as plain text."""
        return tuple(self.tokenizer(text, add_special_tokens=False, split_special_tokens=plain).input_ids)

    def _cached_template(self, task: Task, labels: bool) -> list[PromptSpan]:
        if (task, labels) not in self._templates:
            self._templates[task, labels] = self._expand(task, "", labels)
        return self._templates[task, labels]

    def _expand(self, task: Task, explanation: str, labels: bool) -> list[PromptSpan]:
        """The spans of a task's template; the instruction's span is still empty."""
        text = segmentation_template(self.prompt_set, task, self.block_order, explain=bool(explanation))
        spans = []
        for part in split_placeholders(text):
            block = PLACEHOLDERS.get(part, Block.TEXT)
            if block is Block.TEXT and ASSISTANT in part:
                spans.append(self._reply_span(part, explanation, labels))
            elif block is Block.TEXT:
                spans.append(PromptSpan(block, self.text_ids(part)))
            elif block is not Block.REFERENCES or self.with_references:
                spans.append(PromptSpan(block))
        return [*spans, self._end()] if labels else spans

    def _reply_span(self, part: str, explanation: str, labels: bool) -> PromptSpan:
        """The part of a template with the assistant's reply, which ends in [SEG]."""
        ids = self.text_ids(part)
        if explanation:
            before, reason = self.text_ids(part.removesuffix(SEG_TOKEN)), self.text_ids(explanation, plain=True)
            ids = (*before, *reason, *self.text_ids(SEG_TOKEN))
        request = part[: part.index(ASSISTANT) + len(ASSISTANT)]
        return PromptSpan(Block.TEXT, ids, self._reply_labels(ids, request, first=True) if labels else None)

    def _reply_labels(self, ids: tuple[int, ...], request: str, first: bool) -> tuple[int, ...]:
        """Labels of a text that begins with `request`: none on the request, the ids themselves on the reply."""
        if self.prompt_set == "released":
            start = len(self.text_ids(f"{request} ", plain=True)) - (RELEASED_LABEL_LEAD if first else 0)
        else:
            start = len(self.text_ids(request, plain=True))
        return (IGNORE,) * start + ids[start:]

    def _end(self) -> PromptSpan:
        """The end token; hidden in the released prompts, where it is also the padding token."""
        ids = (cast(int, self.tokenizer.eos_token_id),)
        return PromptSpan(Block.TEXT, ids, ids, visible=self.prompt_set != "released")


def _seg_id(tokenizer: PreTrainedTokenizerBase) -> int:
    seg_id = tokenizer.convert_tokens_to_ids(SEG_TOKEN)
    if not isinstance(seg_id, int) or seg_id == tokenizer.unk_token_id:
        raise CheckpointError(
            f"expected a tokenizer with a {SEG_TOKEN} token, got one without; use the tokenizer saved with the weights"
        )
    return seg_id
