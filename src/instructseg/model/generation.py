"""Text generation: greedy decoding with a key-value cache, and the cached prefix that prompts about a visual share."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import Cache

from instructseg.model.layout import PREFIX, Layout
from instructseg.model.outputs import VisualFeatures
from instructseg.model.pretrained import InstructSegPreTrainedModel


class TextGeneration(InstructSegPreTrainedModel):
    """The part of `InstructSegModel` that generates text; the model implements `embed`."""

    if TYPE_CHECKING:

        def embed(self, layout: Layout, visual: VisualFeatures | None, references: Tensor | None) -> Tensor: ...

    @torch.no_grad()
    def generate_text(
        self, layout: Layout, visual: VisualFeatures | None, max_new_tokens: int = 128, stop: Collection[int] = (),
        use_cache: bool = True, prefix: Cache | None = None,
    ) -> list[int]:  # fmt: skip
        """Greedy decoding after a one-row prompt: tokens up to, and without, the first one in `stop`.

        Args:
            layout: the prompt; batch size 1.
            visual: visual tokens of the prompt's image; None for a prompt without an image.
            max_new_tokens: maximum number of tokens.
            stop: token ids that end the text.
            use_cache: cache keys and values, so that each step computes the newest token only.
            prefix: cached beginning of this prompt, from `read_prefix`.
        """
        row = GrowingRow(self, prefix, use_cache)
        start = row.length
        row.read(self.embed(layout, visual, None)[:, start:], layout.segments[:, start:] >= PREFIX)
        return list(row.write(max_new_tokens, stop))

    def read_prefix(self, layout: Layout, visual: VisualFeatures) -> Cache:
        """Compute the keys and values of the prompt prefix that all instructions about a visual share.

        All rows of the layout must have a prefix of the same length, as rows of the same task do.
        """
        length = layout.prefix_length
        return self.language_model(
            inputs_embeds=self.embed(layout, visual, None)[:, :length],
            position_ids=layout.positions[:, :length],
            use_cache=True,
        ).past_key_values


class GrowingRow:
    """One row of the language model's input that grows by embeddings that are read and by tokens that are written.

    Attributes: `stopped_at`: the token that ended the latest text, None if its length did.
    """

    def __init__(self, model: TextGeneration, prefix: Cache | None = None, use_cache: bool = True) -> None:
        """
        Args:
            prefix: keys and values of the row's beginning, from `read_prefix`; it is copied.
            use_cache: False computes the whole row in every step, which needs `prefix` None.
        """
        self.model, self.cache, self.use_cache = model, copy.deepcopy(prefix), use_cache
        length = 0 if self.cache is None else self.cache.get_seq_length()
        self._visible = torch.ones(1, length, dtype=torch.long, device=model.device)
        self._embeddings: Tensor | None = None  # of the whole row, without a cache
        self._state: Tensor | None = None
        self._unread: list[int] = []
        self.stopped_at: int | None = None

    @property
    def length(self) -> int:
        """Tokens that the language model has read."""
        return self._visible.shape[1]

    @property
    def room(self) -> int:
        """How many more tokens the language model can read before it runs out of positions."""
        return self.model.config.text_config.max_position_embeddings - self.length - len(self._unread)

    def read(self, embeddings: Tensor, visible: Tensor | None = None) -> Tensor:
        """Append embeddings (1, n, dim); returns their hidden states (1, n, dim).

        `visible`: bool (1, n), False for tokens that no later token attends to; None: all are visible.
        """
        count = embeddings.shape[1]
        seen = self._visible.new_ones(1, count) if visible is None else visible.to(self._visible)
        written = self._visible.new_ones(1, len(self._unread))
        embeddings = torch.cat([self.model.get_input_embeddings()(written.new_tensor([self._unread])), embeddings], 1)
        self._visible, self._unread = torch.cat([self._visible, written, seen], 1), []
        states = self._run(embeddings)
        self._state = states[:, -1]
        return states[:, states.shape[1] - count :]

    def write(self, max_new_tokens: int, stop: Collection[int] = (), forbidden: Collection[int] = ()) -> Iterator[int]:
        """Greedy decoding after what was read: tokens up to, and without, the first one in `stop`.

        `forbidden`: tokens that the text does not begin with.
        """
        self.stopped_at = None
        for index in range(min(max_new_tokens, self.room)):
            if self._unread:
                self.read(self.model.get_input_embeddings()(self._visible.new_zeros(1, 0)))
            token = self._likeliest(() if index else forbidden)
            if token in stop:
                self.stopped_at = token
                return
            self._unread.append(token)
            yield token

    def truncate(self, length: int, unread: Collection[int] = ()) -> None:
        """Return to an earlier state of the row: `length` tokens read, and the written tokens `unread`."""
        if self.cache is not None and length < self.length:
            self.cache.crop(length - self.length)  # the negative number of tokens to remove
        self._visible, self._unread = self._visible[:, :length], list(unread)

    @property
    def unread(self) -> tuple[int, ...]:
        """Written tokens that the language model has not read yet."""
        return tuple(self._unread)

    def _likeliest(self, forbidden: Collection[int]) -> int:
        assert self._state is not None, "read a prompt first"
        logits = self.model.lm_head(self._state)[0, : self.model.config.text_config.vocab_size]
        logits[list(forbidden)] = -torch.inf
        return int(logits.argmax())

    def _run(self, embeddings: Tensor) -> Tensor:
        if not self.use_cache:
            embeddings = embeddings if self._embeddings is None else torch.cat([self._embeddings, embeddings], 1)
            self._embeddings = embeddings
        output = self.model.language_model(
            inputs_embeds=embeddings, attention_mask=self._visible, past_key_values=self.cache,
            use_cache=self.use_cache,
        )  # fmt: skip
        self.cache = output.past_key_values if self.use_cache else None
        return output.last_hidden_state
