"""JHMDB-Sentences (Gavrilyuk et al., CVPR 2018): 928 clips with one expression each, for evaluation only.

The list of labelled frames, three per clip, is the one published by MTTR, which later work also uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from instructseg.data.readers.base import Reader, parsing, require_split
from instructseg.data.readers.clip_meta import checked_name, clean
from instructseg.data.readers.files import read_json
from instructseg.data.readers.frames import LazyPictures, files_named
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_LISTING = "jhmdb_sentences_samples_metadata.json"


class JhmdbSentences(Reader[Sample]):
    """The clips, each with one expression and all its frames (Rename_Images); ids `jhmdb_sentences/CLIP`.

    The dataset is "jhmdb_sentences". Listed frames have masks (puppet_mask/*.mat); for the others, which are not
    scored, the mask is None.

    root: the dataset's folder.
    split: "test", the only one.
    """

    def __init__(self, root: str | Path, split: str = "test") -> None:
        require_split("JHMDB-Sentences", split, ("test",))
        self.root = Path(root)
        self.listing = self.root / _LISTING
        rows: dict[str, list[Sequence[Any]]] = {}
        with parsing(self.listing, "the list of labelled frames"):
            for row in read_json(self.listing):
                name, *_ = row
                rows.setdefault(name, []).append(row)
            self._clips = [_LabelledClip(self.listing, name, rows[name]) for name in rows]

    def __len__(self) -> int:
        return len(self._clips)

    def read(self, index: int) -> Sample:
        clip = self._clips[index]
        names = tuple(f"{number:05d}" for number in range(1, clip.length + 1))
        frames = LazyPictures(files_named(self.root / clip.folder, names, ".png", self.listing))
        masks = PuppetMasks(self.root / clip.masks, clip.length, clip.labelled, frames.size)
        expression = Expression(clip.text, None, id="0", masks=masks, details={"objects": ["1"]})
        return Sample(
            f"jhmdb_sentences/{clip.name}",
            Task.RVOS,
            frames,
            (expression,),
            frame_names=names,
            dataset="jhmdb_sentences",
        )


class _LabelledClip:
    """One clip from its rows [name, labelled frame, masks, number of frames, sentence], one row per labelled frame."""

    def __init__(self, listing: Path, name: str, rows: Sequence[Sequence[Any]]) -> None:
        _, first, masks, self.length, text = rows[0]
        self.name, self.text = name, clean(text)
        self.masks = _inside(listing, masks)
        self.folder = PurePosixPath(_inside(listing, first)).parent
        self.labelled = frozenset(int(PurePosixPath(row[1]).stem) - 1 for row in rows)
        if not all(0 <= index < self.length for index in self.labelled):
            raise ValueError(
                f"clip {name} has {self.length} frames, but labelled frames have indices {sorted(self.labelled)}"
            )


class PuppetMasks(Sequence[Any]):
    """The person's mask in the labelled frames of a clip, bool (height, width), None elsewhere; read on access."""

    def __init__(self, path: Path, length: int, labelled: frozenset[int], size: tuple[int, int]) -> None:
        self.path, self.length, self.labelled, self.size = path, length, labelled, size
        self._stack: np.ndarray | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | slice) -> Any:
        frames = range(self.length)[index]
        if isinstance(frames, range):
            return [self[frame] for frame in frames]
        if frames not in self.labelled:
            return None
        if self._stack is None:
            self._stack = self._read()
        return self._stack[..., frames] > 0

    def _read(self) -> np.ndarray:
        from scipy.io import loadmat  # takes 0.1 s to import, and only this dataset needs it

        try:
            stack = loadmat(self.path)["part_mask"]
        except Exception as error:  # the decoder raises many exception types on damaged data
            raise DataError(
                f"{self.path} cannot be read as a MATLAB file with part_mask ({error!r}); download it again"
            ) from error
        if stack.shape != (*self.size, self.length):
            raise DataError(
                f"{self.path}: masks are {stack.shape}, but the clip is {(*self.size, self.length)}; download it again"
            )
        return stack


def _inside(listing: Path, path: str) -> str:
    """A listed path without its first part, the dataset's folder."""
    return checked_name(listing, str(PurePosixPath(path).relative_to("jhmdb_sentences")))
