"""From a frame and its reference frames to mask proposals: features, decoder queries, decoding.

Runs the model's stages (`model.modeling`), and shares computation among frames and among instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from instructseg.inference.video.byte_cache import ByteCache
from instructseg.inference.video.features import BufferedFrame, FrameFeatures, Reference, frame_number
from instructseg.inference.video.instructions import group_instructions
from instructseg.model.layout import Layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.references import time_order
from instructseg.model.seeds import InstructionWords
from instructseg.model.segmentation_decoder import PixelFeatures, Proposals
from instructseg.types import Task

ReferenceLookup: TypeAlias = Callable[[int], Sequence[Reference]]
"""Instruction index -> the reference frames that its perceiver reads, ascending; may be empty."""


@dataclass(frozen=True)
class DecoderQueries:
    """The language model's output that the mask decoder reads, for one instruction group at a key frame.

    mask_embeddings: E_m (1, instructions, mask tokens, dim); `model.decode` projects them to the decoder's queries.
    text: E_v (1, instructions, decoder width), the multi-grained text embedding of section 3.3.
    words: the instructions' words, which models with seeds read; None for other models.
    """

    mask_embeddings: Tensor
    text: Tensor
    words: InstructionWords | None


class VideoEngine:
    """Mask proposals of several instructions, frame by frame.

    Cost per frame: the image encoders and the pixel decoder once; the mask decoder once per instruction group; at key
    frames the language model once per group and the perceiver once per (reference frame, group) not yet cached. With
    the image-first block order all instructions of a task form one group. With `key_every` = n only every n-th frame is
    a key frame; the frames between decode with the last key frame's queries.

    Memory: `cache_bytes` for cached features, the pinned frames' tokens, and one `DecoderQueries` per group.

    Raises InputError for an invalid instruction.
    """

    def __init__(
        self, model: InstructSegModel, processor: InstructSegProcessor, instructions: Sequence[str],
        tasks: Sequence[Task], key_every: int, cache_bytes: int,
    ):  # fmt: skip
        self.model, self.processor = model, processor
        self.instructions, self.tasks, self.key_every = tuple(instructions), tuple(tasks), key_every
        self.features = FrameFeatures(model, processor, ByteCache(cache_bytes))
        self.groups = group_instructions(self.tasks, shared_prefix=processor.block_order == "image_first")
        self._layouts: dict[tuple[int, int], Layout] = {}
        self._queries: dict[int, DecoderQueries] = {}
        for group in range(len(self.groups)):
            self._layout(group, 1)  # raises InputError for an invalid instruction before the first frame is read

    @torch.inference_mode()
    def propose(self, frame: BufferedFrame, references: ReferenceLookup) -> tuple[list[Proposals], PixelFeatures]:
        """The final head's proposals of each instruction (axes 1, 1, queries, ...), and the pixel decoder's output.

        `references` is called at key frames only, and only for video tasks.
        """
        visual = self.features.visual(frame)
        assert visual.pixels is not None  # encode_image and encode_pyramid always compute them
        proposals: dict[int, Proposals] = {}
        for index, group in enumerate(self.groups):
            if frame.number % self.key_every == 0 or index not in self._queries:
                self._queries[index] = self.compute_queries(index, frame, visual, references)
            queries = self._queries[index]
            final = self.model.decode(visual, queries.mask_embeddings, queries.text, queries.words)[-1]
            for position, member in enumerate(group.members):
                row = slice(position, position + 1)
                learned, scores = final.learned_logits[:, row], final.score_logits[:, row]
                proposals[member] = Proposals(learned, scores, final.seed_logits)
        return [proposals[member] for member in range(len(self.instructions))], visual.pixels

    def compute_queries(
        self, group: int, frame: BufferedFrame, visual: VisualFeatures, references: ReferenceLookup
    ) -> DecoderQueries:
        """One pass of the language model over a key frame for an instruction group: perceive, reason, fuse."""
        if visual.tokens is None:
            visual = replace(visual, tokens=self.features.tokens(frame))
        perceived, layout = self._perceive(group, frame, references)
        hidden = self.model.reason(layout, visual, perceived)
        return DecoderQueries(hidden.mask_embeddings, self.model.fuse(hidden, visual), hidden.words)

    @torch.inference_mode()
    def relevance(self, frame: Reference, instruction: int) -> float:
        """How well a frame fits an instruction, -1..1: the mean over words of the best cosine with a visual token."""
        group, position = next(
            (index, group.members.index(instruction))
            for index, group in enumerate(self.groups)
            if instruction in group.members
        )
        layout = self._layout(group, 1)
        words = self.model.get_input_embeddings()(layout.word_ids[0, position])[layout.word_mask[0, position]]
        tokens = self.features.tokens(frame)[0]
        cosine = torch.nn.functional.normalize(words.float(), dim=-1) @ torch.nn.functional.normalize(
            tokens.float(), dim=-1
        ).transpose(0, 1)
        return float(cosine.max(1).values.mean())

    def _perceive(self, group: int, frame: BufferedFrame, references: ReferenceLookup) -> tuple[Tensor | None, Layout]:
        """OVP tokens (1, instructions, T_r * latents, dim) of each instruction's reference frames, and the layout.

        A frame without references, and every frame of an image task, is its own reference (section 3.2).
        """
        members, is_video = self.groups[group].members, self.groups[group].task.is_video
        frames = [(list(references(member)) if is_video else []) or [frame] for member in members]
        count = min(map(len, frames))  # blocks of a row have one length; policies choose equally many frames
        layout = self._layout(group, count)
        if self.model.perceiver is None:
            return None, layout
        single = self._layout(group, 1)
        tokens, times = [], []
        for position, chosen in enumerate(frames):
            tokens.append(
                torch.stack([self.features.perceived(item, group, single)[:, position] for item in chosen[:count]], 1)
            )
            times.append(time_order([frame_number(item) for item in chosen[:count]], frame.number))
        order = torch.tensor([times], device=self.model.device)
        return self.model.perceiver.with_time(torch.stack(tokens, 1), order).flatten(2, 3), layout

    def _layout(self, group: int, references: int) -> Layout:
        """The sequence layout of a group with `references` reference frames per instruction."""
        if (group, references) not in self._layouts:
            task, members = self.groups[group].task, self.groups[group].members
            texts = [self.instructions[member] for member in members]
            layout = self.processor.layout([texts], [task], [references])
            self._layouts[group, references] = layout.to(self.model.device)
        return self._layouts[group, references]
