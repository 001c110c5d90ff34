"""The expressions of Ref-DAVIS17 as published: four text files with one line per object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from instructseg.data.readers.base import parsing
from instructseg.data.readers.clip_meta import ClipRecord, clean
from instructseg.data.readers.frames import folder_names
from instructseg.errors import DataError
from instructseg.types import Expression

# In the order of the annotators 0..3; the second annotator's files are not UTF-8.
_FILES = {
    "Davis17_annot1.txt": "utf-8",
    "Davis17_annot1_full_video.txt": "utf-8",
    "Davis17_annot2.txt": "latin-1",
    "Davis17_annot2_full_video.txt": "latin-1",
}
_MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
_IMAGE_SETS = {"train": "train.txt", "valid": "val.txt"}

Sentences = Mapping[str, Mapping[str, str]]


def read_texts(folder: Path, davis: Path, split: str) -> list[ClipRecord]:
    """The clips of a split with four expressions per object; `davis` is the folder of DAVIS 2017. Raises DataError.

    An expression's id is 4 times the object's index, in the order of the object ids as text, plus the annotator, as in
    the converted files.
    """
    files = [_sentences(folder / name, encoding) for name, encoding in _FILES.items()]
    listing = davis / "ImageSets" / "2017" / _IMAGE_SETS[split]
    names = _lines(listing, "utf-8")
    return [_clip(folder, name, davis / "JPEGImages" / "480p" / name, files, listing) for name in names]


def _clip(folder: Path, name: str, frames: Path, files: Sequence[Sentences], listing: Path) -> ClipRecord:
    stems = sorted(Path(file).stem for file in folder_names(frames, listing) if file.endswith(".jpg"))
    with parsing(folder, f"clip {name}"):
        numbers = sorted(files[0][name])
        expressions = [
            Expression(texts[name][number], None, id=str(len(files) * index + annotator), details={"objects": [number]})
            for index, number in enumerate(numbers)
            for annotator, texts in enumerate(files)
        ]
    if not stems or not expressions:
        raise DataError(
            f"expected frames in {frames} and expressions in {folder}, got {len(stems)} and {len(expressions)}; "
            "unpack both again"
        )
    return ClipRecord(name, tuple(stems), tuple(expressions))


def _sentences(path: Path, encoding: str) -> dict[str, dict[str, str]]:
    """{clip: {object: sentence}} from lines such as: bear 1 "a brown bear"."""
    sentences: dict[str, dict[str, str]] = {}
    for count, line in enumerate(_lines(path, encoding), start=1):
        with parsing(path, f"line {count}"):
            name, number, sentence = line.split(maxsplit=2)
            sentences.setdefault(_MISSPELT.get(name, name), {})[str(int(number))] = clean(sentence.strip('"'))
    return sentences


def _lines(path: Path, encoding: str) -> list[str]:
    try:
        text = path.read_text(encoding=encoding)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); download it again") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
