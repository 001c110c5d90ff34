"""Conversations about a photo in LLaVA's form (https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from instructseg.data.readers.questions import LazyPhoto, load, naming, read_first
from instructseg.types import Expression, Sample, Task

IMAGE = "<image>"


class Conversations(Sequence[Sample]):
    """One sample for each record: its turns, in order, are the expressions, kind "conversation".

    A turn's `text` is what the human says and `answer` what the assistant replies; `details` has "turn", from 0, and
    "turns". A turn makes sense only after those before it: take the expressions of a sample together, in order. A last
    turn that nobody answered has `answer` None. What the assistant says before the human's first words is left out,
    as LLaVA does.

    The mark <image> is taken out of the text: the photo is the sample's frame and stands before the first turn,
    wherever the mark stood (the released code moves it to the front of its turn; in LLaVA's files that is the first).
    Records without an "image" have no frames. The photo is looked for in each of `image_dirs` in turn.
    """

    def __init__(self, path: str | Path, *image_dirs: str | Path) -> None:
        self.path, self.image_dirs = Path(path), tuple(Path(folder) for folder in image_dirs)
        self._records = load(self.path, "a list of conversations", list)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        record = self._records[index]
        with naming(self.path, f"record {range(len(self))[index]}"):
            turns, identity, frames = _turns(record["conversations"]), str(record["id"]), ()
            if record.get("image"):
                paths = [folder / record["image"] for folder in self.image_dirs]
                frames = LazyPhoto(partial(read_first, *(paths or [Path(record["image"])])))
        expressions = tuple(
            Expression(
                text, None, "conversation", str(turn), answer=answer, details={"turn": turn, "turns": len(turns)}
            )
            for turn, (text, answer) in enumerate(turns)
        )
        return Sample(f"conversation/{identity}", Task.CHAT, frames, expressions, dataset="conversation")


def _turns(messages: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """(what the human says, what the assistant replies) in turn. Raises ValueError when they do not alternate."""
    said = [(message["from"], message["value"]) for message in messages]
    said = said[1:] if said and said[0][0] == "gpt" else said
    speakers = [who for who, _ in said]
    if not said or speakers != [("human", "gpt")[place % 2] for place in range(len(said))]:
        raise ValueError(f"human and gpt should take turns; they speak as {', '.join(speakers) or 'nobody'}")
    marks = sum(text.count(IMAGE) for _, text in said)
    if marks > 1:
        raise ValueError(f"it has {marks} {IMAGE} marks; conversations about one photo are read")
    texts = [text.replace(IMAGE, "").strip() for _, text in said]
    return [(text, texts[place + 1] if place + 1 < len(texts) else None)
            for place, text in enumerate(texts) if place % 2 == 0]  # fmt: skip
