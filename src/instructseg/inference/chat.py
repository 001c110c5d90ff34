"""Conversations in text, about a photo or without one: several turns, each answer written token by token."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import torch
from transformers import Cache, PreTrainedTokenizerBase

from instructseg.errors import InputError
from instructseg.model.checks import check_text
from instructseg.model.generation import GrowingRow
from instructseg.model.layout import build_layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures
from instructseg.model.processing import InstructSegProcessor

UNTRAINED = (
    "{name} was not trained to write text, so its words mean nothing; use segment() for masks, or a model trained on "
    "conversations, such as the paper's 3B model"
)


@dataclass(frozen=True)
class PhotoContext:
    """Shared by all conversations about a photo: the cached prompt up to and including its visual tokens."""

    prefix: Cache


@torch.inference_mode()
def prefill_photo(model: InstructSegModel, processor: InstructSegProcessor, visual: VisualFeatures) -> PhotoContext:
    """Run the language model over the prompt before the question; `visual` needs its tokens only."""
    layout = build_layout([[processor.prompts.conversation([])]], [1], processor.token_counts).to(model.device)
    return PhotoContext(model.read_prefix(layout, visual))


class Conversation:
    """A conversation about one photo, or about none; every answer is written after all earlier turns.

    The language model reads each token once: its keys and values are cached from turn to turn. A turn that fails, or
    whose stream is closed before its end, leaves the conversation unchanged.

    Attributes: `turns`: the (question, answer) pairs so far.
    """

    def __init__(
        self, model: InstructSegModel, processor: InstructSegProcessor, photo: PhotoContext | None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            model: the model that answers.
            processor: the model's processor.
            photo: what `prefill_photo` returned for the photo; None for a conversation without a photo.
            name: name of the weights, for the warning that they were not trained to write text.
        """
        warn_untrained(model, name)
        self._model, self._processor, self._photo = model, processor, photo
        self._row = GrowingRow(model, photo and photo.prefix)
        self.turns: list[tuple[str, str]] = []

    @property
    def cache(self) -> Cache | None:
        """Keys and values of all tokens read so far; None if there are none, before the first question."""
        return self._row.cache

    def ask(self, question: str, max_new_tokens: int = 128) -> str:
        """The answer by greedy decoding, at most `max_new_tokens` tokens. Raises InputError as `stream` does."""
        return "".join(self.stream(question, max_new_tokens))

    def stream(self, question: str, max_new_tokens: int = 128) -> Generator[str, None, None]:
        """The answer in pieces, as it is written.

        Raises InputError, before anything is computed, for an empty question, one of more than 512 tokens, or one that
        the language model has no room left for.
        """
        check_question(self._processor, question, max_new_tokens)
        prompts = self._processor.prompts
        if self.turns:
            spans = prompts.follow_up(question)
        else:
            spans = prompts.conversation([(question, None)], photo=self._photo is not None)[2 if self._photo else 0 :]
        needed = sum(len(span.ids) for span in spans)
        if needed >= self._row.room:
            raise InputError(
                f"expected the conversation to have room for {needed} more tokens, got {self._row.room}; "
                "start a new one"
            )
        ids = torch.tensor([[token for span in spans for token in span.ids]], device=self._model.device)
        visible = torch.tensor([[span.visible for span in spans for _ in span.ids]], device=self._model.device)
        return self._answer(question, ids, visible, max_new_tokens)

    @torch.inference_mode()
    def _answer(
        self, question: str, ids: torch.Tensor, visible: torch.Tensor, max_new_tokens: int
    ) -> Generator[str, None, None]:
        length, unread = self._row.length, self._row.unread
        answer = ""
        try:
            self._row.read(self._model.get_input_embeddings()(ids), visible)
            tokens = self._row.write(max_new_tokens, stop=(self._processor.tokenizer.eos_token_id,))
            for piece in decode_pieces(self._processor.tokenizer, tokens):
                answer += piece
                yield piece
        except BaseException:  # also GeneratorExit, of a stream that is not read to its end
            self._row.truncate(length, unread)
            raise
        self.turns.append((question, answer))


def decode_pieces(tokenizer: PreTrainedTokenizerBase, tokens: Iterable[int]) -> Iterator[str]:
    """The text of tokens as they arrive, in pieces of whole characters; joined, they are the stripped text."""
    ids: list[int] = []
    text = shown = ""
    for token in tokens:
        ids.append(token)
        text = str(tokenizer.decode(ids, skip_special_tokens=True)).strip()
        if text.startswith(shown) and text != shown and not text.endswith("\ufffd"):  # else a character is incomplete
            yield text[len(shown) :]
            shown = text
    if text != shown and text.startswith(shown):
        yield text[len(shown) :]


def check_question(processor: InstructSegProcessor, question: str, max_new_tokens: int) -> None:
    """Raises InputError unless the question is a non-empty string of at most 512 tokens and `max_new_tokens` >= 1."""
    check_text(question, "question")
    processor.prompts.limited_ids(question, "question")
    check_max_new_tokens(max_new_tokens)


def check_max_new_tokens(max_new_tokens: int) -> None:
    """Raises InputError unless `max_new_tokens` is an integer of at least 1."""
    if not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise InputError(
            f"expected max_new_tokens to be an integer of at least 1, got {max_new_tokens!r}; the default is 128"
        )


def warn_untrained(model: InstructSegModel, name: str | None) -> None:
    """Warn once per process if the model was not trained to write text; nano was not."""
    if not model.config.was_trained_to_write:
        warnings.warn(UNTRAINED.format(name=name or "this model"), stacklevel=1)
