"""Proposals of several instructions for the frames of a clip, with everything shared that can be shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from instructseg.inference.video.byte_cache import ByteCache
from instructseg.inference.video.features import FrameFeatures, HeldFrame
from instructseg.model.checks import check_task
from instructseg.model.layout import Layout
from instructseg.model.modeling import InstructSegModel, VisualFeatures
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.segmentation_decoder import PixelFeatures, Proposals
from instructseg.prompts import guess_task
from instructseg.types import Task

Reference = HeldFrame | int


@dataclass(frozen=True)
class Row:
    """Instructions that are asked in one row of the language model: they share the prompt before them."""

    task: Task
    members: tuple[int, ...]


@dataclass(frozen=True)
class Thought:
    """What the language model says about a key frame: projected to a decoder's queries by `decode`, and the text E_v.

    masks (1, instructions, mask tokens, dim), text (1, instructions, decoder width).
    """

    masks: Tensor
    text: Tensor


class VideoEngine:
    """The model's proposals, frame by frame.

    A frame's visual tokens and pyramid are computed once whatever number of instructions asks and whichever frames
    it is a reference of; its OVP tokens once an instruction. With the image-first block order all instructions of
    one task share one pass of the language model over the image. With `key_every` above 1 the language model runs on
    every n-th frame only, and the mask decoder reads the last one's mask queries and text in between.
    """

    def __init__(
        self, model: InstructSegModel, processor: InstructSegProcessor, instructions: Sequence[str],
        tasks: Sequence[Task], key_every: int, cache_bytes: int,
    ):  # fmt: skip
        self.model, self.processor = model, processor
        self.instructions, self.tasks, self.key_every = tuple(instructions), tuple(tasks), key_every
        self.features = FrameFeatures(model, processor, ByteCache(cache_bytes))
        self.rows = _rows(self.tasks, shared=processor.block_order == "image_first")
        self._layouts: dict[tuple[int, int], Layout] = {}
        self._thoughts: dict[int, Thought] = {}
        for row in range(len(self.rows)):
            self._layout(row, 1)  # an instruction that cannot be used is refused before the first frame

    @torch.inference_mode()
    def propose(
        self, frame: HeldFrame, references: Callable[[int], Sequence[Reference]]
    ) -> tuple[list[Proposals], PixelFeatures]:
        """The last head's proposals of each instruction, their axes (1, 1, queries, ...), and the decoder's features.

        `references(k)` gives the frames that instruction k's perceiver reads; a photo's task reads the frame itself.
        It is asked at key frames only.
        """
        visual = self.features.visual(frame)
        found: dict[int, Proposals] = {}
        for index, row in enumerate(self.rows):
            if frame.number % self.key_every == 0 or index not in self._thoughts:
                self._thoughts[index] = self._think(index, frame, visual, references)
            thought = self._thoughts[index]
            last = self.model.decode(visual, thought.masks, thought.text)[-1]
            for position, member in enumerate(row.members):
                here = slice(position, position + 1)
                found[member] = Proposals(last.mask_logits[:, here], last.score_logits[:, here])
        return [found[member] for member in range(len(self.instructions))], visual.pixels

    @torch.inference_mode()
    def relevance(self, frame: HeldFrame | int, instruction: int) -> float:
        """How well a frame fits an instruction: each word's best cosine with a visual token, averaged over words."""
        index, position = self._place(instruction)
        layout = self._layout(index, 1)
        words = self.model.get_input_embeddings()(layout.word_ids[0, position])[layout.word_mask[0, position]]
        tokens = self.features.tokens(frame)[0]
        cosine = torch.nn.functional.normalize(words.float(), dim=-1) @ torch.nn.functional.normalize(
            tokens.float(), dim=-1
        ).transpose(0, 1)
        return float(cosine.max(1).values.mean())

    def _think(
        self, index: int, frame: HeldFrame, visual: VisualFeatures, references: Callable[[int], Sequence[Reference]]
    ) -> Thought:
        row = self.rows[index]
        if visual.tokens is None:
            visual = replace(visual, tokens=self.features.tokens(frame))
        chosen = [self._read_by(row, member, frame, references) for member in row.members]
        perceived, layout = self._references(index, chosen)
        hidden = self.model.reason(layout, visual, perceived)
        return Thought(hidden.mask_embeddings, self.model.fuse(hidden, visual))

    def _read_by(
        self, row: Row, member: int, frame: HeldFrame, references: Callable[[int], Sequence[Reference]]
    ) -> list[Reference]:
        chosen = list(references(member)) if row.task.is_video else []
        return chosen or [frame]

    def _references(self, index: int, chosen: list[list[Reference]]) -> tuple[Tensor | None, Layout]:
        """OVP tokens (1, instructions, T_r * latents, dim) of the frames chosen for each instruction of a row."""
        count = min(map(len, chosen))  # a row's blocks have one length; rules give equal numbers of frames
        layout = self._layout(index, count)
        if self.model.perceiver is None:
            return None, layout
        alone = self._layout(index, 1)
        tokens = [
            torch.cat([self.features.perceived(frame, index, alone)[:, position] for frame in frames[:count]], dim=1)
            for position, frames in enumerate(chosen)
        ]
        return torch.stack(tokens, dim=1), layout

    def _layout(self, index: int, frames: int) -> Layout:
        if (index, frames) not in self._layouts:
            row = self.rows[index]
            texts = [self.instructions[member] for member in row.members]
            self._layouts[index, frames] = self.processor.layout([texts], [row.task], [frames]).to(self.model.device)
        return self._layouts[index, frames]

    def _place(self, instruction: int) -> tuple[int, int]:
        return next(
            (index, row.members.index(instruction)) for index, row in enumerate(self.rows) if instruction in row.members
        )


def choose_video_tasks(task: Task | str | None, instructions: Sequence[str]) -> tuple[Task, ...]:
    """The task of each instruction: the one asked for, or what its form tells.

    A photo's task ("res", "reason_seg") looks at every frame as at a photo, which is then its own reference.
    Raises InputError for what is no segmentation task.
    """
    if task is None:
        return tuple(guess_task(text, video=True) for text in instructions)
    return (check_task(task),) * len(instructions)


def _rows(tasks: Sequence[Task], shared: bool) -> list[Row]:
    if not shared:
        return [Row(task, (member,)) for member, task in enumerate(tasks)]
    kinds = dict.fromkeys(tasks)
    return [Row(kind, tuple(member for member, task in enumerate(tasks) if task is kind)) for kind in kinds]
