"""JHMDB-Sentences (Gavrilyuk et al., CVPR 2018): 928 clips of one action each, a sentence a clip, for evaluation only.

The list of labelled frames is the one that MTTR published and others use since: three frames of each clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from instructseg.data.readers.clip_meta import checked_name, clean, describing
from instructseg.data.readers.files import read_json
from instructseg.data.readers.frames import LazyPictures, files_named
from instructseg.errors import DataError
from instructseg.types import Expression, Sample, Task

_LISTING = "jhmdb_sentences_samples_metadata.json"


class JhmdbSentences(Sequence[Sample]):
    """The clips, ids `jhmdb_sentences/CLIP`, each with one expression and all its frames (Rename_Images).

    Masks are known for the listed frames (puppet_mask/*.mat) and None for the others, which are not scored.
    """

    def __init__(self, root: str | Path, split: str = "test") -> None:
        if split != "test":
            raise DataError(f"JHMDB-Sentences has no split {split!r}; there is test, all of it")
        self.root = Path(root)
        self.listing = self.root / _LISTING
        rows: dict[str, list[Sequence[Any]]] = {}
        with describing(self.listing, "the list of labelled frames"):
            for row in read_json(self.listing):
                name, *_ = row
                rows.setdefault(name, []).append(row)
            self._clips = [_Clip(self.listing, name, rows[name]) for name in rows]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
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


class _Clip:
    """The rows of one clip: [name, labelled frame, masks, number of frames, sentence], the same but for the frame."""

    def __init__(self, listing: Path, name: str, rows: Sequence[Sequence[Any]]) -> None:
        _, first, masks, self.length, text = rows[0]
        self.name, self.text = name, clean(text)
        self.masks = _inside(listing, masks)
        self.folder = PurePosixPath(_inside(listing, first)).parent
        self.labelled = frozenset(int(PurePosixPath(row[1]).stem) - 1 for row in rows)
        if not all(0 <= at < self.length for at in self.labelled):
            raise ValueError(f"clip {name} has {self.length} frames, labelled are {sorted(self.labelled)}")


class PuppetMasks(Sequence[Any]):
    """The person's mask at the labelled frames of a clip, bool (height, width), None elsewhere; read when asked for."""

    def __init__(self, path: Path, length: int, labelled: frozenset[int], size: tuple[int, int]) -> None:
        self.path, self.length, self.labelled, self.size = path, length, labelled, size
        self._stack: np.ndarray | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int | slice) -> Any:  # type: ignore[override]
        places = range(self.length)[index]
        if isinstance(places, range):
            return [self[at] for at in places]
        if places not in self.labelled:
            return None
        if self._stack is None:
            self._stack = self._read()
        return self._stack[..., places] > 0

    def _read(self) -> np.ndarray:
        from scipy.io import loadmat  # 0.1 s to import, needed by this dataset alone

        try:
            stack = loadmat(self.path)["part_mask"]
        except Exception as error:  # on damaged bytes the decoder raises nearly anything
            raise DataError(f"{self.path} cannot be read as a MATLAB file with part_mask ({error!r})") from error
        if stack.shape != (*self.size, self.length):
            raise DataError(f"{self.path}: masks are {stack.shape}, the clip is {(*self.size, self.length)}")
        return stack


def _inside(listing: Path, path: str) -> str:
    """A path of the list, which starts with the dataset's own folder, relative to that folder."""
    return checked_name(listing, str(PurePosixPath(path).relative_to("jhmdb_sentences")))
