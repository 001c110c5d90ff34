"""Intermediate results that the model's stages pass on, and the output of its forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor
from transformers.utils.generic import ModelOutput

from instructseg.model.seeds import InstructionWords, Seeds
from instructseg.model.segmentation_decoder import DecoderMemory, PixelFeatures


@dataclass(frozen=True)
class VisualMemory:
    """What perceive, fuse and decode compute from the images alone, kept for several passes about the same images.

    perceiver: keys and values of each layer of OVP (frames, patches, ...). text_fusion: those of each layer of VMTF
    (batch, cells, ...). Each is empty for a model without the part.
    """

    perceiver: tuple[Tensor, ...]
    text_fusion: tuple[Tensor, ...]
    decoder: DecoderMemory


@dataclass(frozen=True)
class VisualFeatures:
    """Everything computed from the images alone; sessions cache it.

    A conversation needs `tokens` only; a video frame that reuses earlier decoder queries does not need them.
    """

    tokens: Tensor | None
    """Visual tokens of every frame, the batch's key frames first: (frames, patches, dim)."""
    coarsest: Tensor | None = None
    """The backbone's coarsest map of the key frames, for VMTF: (batch, channels, height / 32, width / 32)."""
    pixels: PixelFeatures | None = None
    """The pixel decoder's output for the key frames."""
    seeds: Seeds | None = None
    """Seed proposals of the key frames; None for a model without seeds."""
    memory: VisualMemory | None = None
    """Set by `InstructSegModel.remember`; None: each pass computes it again."""


Part = TypeVar("Part", Tensor, PixelFeatures, Seeds)


def require(part: Part | None, name: str) -> Part:
    """Return `part` of `VisualFeatures`. Raises ValueError when it was not computed."""
    if part is None:
        raise ValueError(f"expected visual features with {name}, got features without them; use `encode_image`")
    return part


@dataclass(frozen=True)
class LanguageModelOutput:
    """The language model's hidden states, and the two blocks that the paper reads from them."""

    hidden_states: Tensor
    """(batch, length, dim)."""
    mask_embeddings: Tensor
    """E_m: (batch, instructions, mask tokens, dim)."""
    word_embeddings: Tensor
    """E_d: (batch, instructions, words, dim)."""
    word_mask: Tensor
    """bool (batch, instructions, words), False for padding."""
    word_inputs: Tensor | None = None
    """The words' embeddings before the language model, of the shape of E_d; of models with seeds only."""

    @property
    def words(self) -> InstructionWords | None:
        """The words as seeds read them; None for a model without seeds."""
        if self.word_inputs is None:
            return None
        return InstructionWords(self.word_inputs, self.word_embeddings, self.word_mask)


@dataclass
class InstructSegOutput(ModelOutput):
    """The proposals of the last head, see `Proposals`; with targets, also the loss and its weighted terms.

    `plural_logits` (batch, instructions), of a model with seeds: above 0 if the instruction asks for several objects.
    """

    loss: Tensor | None = None
    parts: dict[str, Tensor] | None = None
    mask_logits: Tensor | None = None
    score_logits: Tensor | None = None
    plural_logits: Tensor | None = None
