"""Conversations about a photo in LLaVA's format (https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import read_json_of
from instructseg.data.readers.paths import listed_path
from instructseg.data.readers.questions import IMAGE_TOKEN, LazyPhoto
from instructseg.types import Expression, Sample, Task


class Conversations(Reader[Sample]):
    """One sample per record: its turns, in order, are the expressions, of kind "conversation".

    A turn's `text` is the human's message and `answer` the assistant's reply, None for a last turn without one;
    `details` has "turn", from 0, and "turns". A turn depends on those before it: use the expressions of a sample
    together and in order. An assistant's message before the first human one is dropped, as in LLaVA.

    The token <image> is removed from the text: the photo is the sample's frame and always precedes the first turn. (The
    released code moves the token to the front of its turn, which is the first one in LLaVA's files.) Records without an
    "image" have no frames. The photo is looked up in each of `image_dirs` in order.
    """

    def __init__(self, path: str | Path, *image_dirs: str | Path) -> None:
        self.path, self.image_dirs = Path(path), tuple(Path(folder) for folder in image_dirs)
        self._records = read_json_of(self.path, "a list of conversations", list)

    def __len__(self) -> int:
        return len(self._records)

    def read(self, index: int) -> Sample:
        record = self._records[index]
        frames: Sequence[np.ndarray] = ()
        with parsing(self.path, f"record {index}"):
            turns, identity = _turns(record["conversations"]), str(record["id"])
            if record.get("image"):
                folders = self.image_dirs or (Path(),)
                frames = LazyPhoto.at(*(listed_path(folder, record["image"]) for folder in folders))
        expressions = tuple(
            Expression(
                text, None, "conversation", str(turn), answer=answer, details={"turn": turn, "turns": len(turns)}
            )
            for turn, (text, answer) in enumerate(turns)
        )
        return Sample(f"conversation/{identity}", Task.CHAT, frames, expressions, dataset="conversation")


def _turns(messages: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """(human's message, assistant's reply) of each turn. Raises ValueError when they do not alternate."""
    pairs = [(message["from"], message["value"]) for message in messages]
    pairs = pairs[1:] if pairs and pairs[0][0] == "gpt" else pairs
    speakers = [speaker for speaker, _ in pairs]
    if not pairs or speakers != [("human", "gpt")[index % 2] for index in range(len(pairs))]:
        raise ValueError(f"expected alternating human and gpt messages, got {', '.join(speakers) or 'no message'}")
    count = sum(text.count(IMAGE_TOKEN) for _, text in pairs)
    if count > 1:
        raise ValueError(
            f"expected at most one {IMAGE_TOKEN}, got {count}; only conversations about one photo are supported"
        )
    texts = [text.replace(IMAGE_TOKEN, "").strip() for _, text in pairs]
    replies: list[str | None] = [*texts[1::2]]
    return [*zip(texts[::2], replies + [None] * (len(texts) % 2), strict=True)]
