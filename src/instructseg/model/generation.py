"""Text generation: greedy decoding with a key-value cache, and the cached prefix that prompts about a visual share."""

from __future__ import annotations

import copy
from collections.abc import Collection
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
        cached = prefix.get_seq_length() if prefix is not None else 0
        embeddings = self.embed(layout, visual, None)[:, cached:]
        attention_mask = (layout.segments >= PREFIX).long()
        tokens: list[int] = []
        cache = copy.deepcopy(prefix)
        while len(tokens) < max_new_tokens:
            output = self.language_model(
                inputs_embeds=embeddings, attention_mask=attention_mask, past_key_values=cache, use_cache=use_cache
            )
            logits = self.lm_head(output.last_hidden_state[:, -1])[:, : self.config.text_config.vocab_size]
            token = logits.argmax(-1, keepdim=True)
            if int(token) in stop:
                break
            tokens.append(int(token))
            newest = self.get_input_embeddings()(token)
            if use_cache:
                embeddings, cache = newest, output.past_key_values
            else:
                embeddings, cache = torch.cat([embeddings, newest], 1), None
            attention_mask = torch.cat([attention_mask, torch.ones_like(token)], 1)
        return tokens

    def read_prefix(self, layout: Layout, visual: VisualFeatures) -> Cache:
        """Compute the keys and values of the prompt prefix that all instructions about a visual share.

        All rows of the layout must have a prefix of the same length, as rows of the same task do.
        """
        length = int((layout.segments[0] == PREFIX).sum())
        return self.language_model(
            inputs_embeds=self.embed(layout, visual, None)[:, :length],
            position_ids=layout.positions[:, :length],
            use_cache=True,
        ).past_key_values
