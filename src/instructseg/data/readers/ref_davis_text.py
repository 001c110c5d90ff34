"""The sentences of Ref-DAVIS17 as published: four text files, a line for each object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from instructseg.data.readers.clip_meta import Clip, clean, describing
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


def read_texts(folder: Path, davis: Path, split: str) -> list[Clip]:
    """The clips of a split with four expressions an object. Raises DataError.

    Expression ids count objects, in the order of their ids as text, and within an object the annotators: so do the
    ids of the converted files.
    """
    files = [_sentences(folder / name, encoding) for name, encoding in _FILES.items()]
    listing = davis / "ImageSets" / "2017" / _IMAGE_SETS[split]
    names = _lines(listing, "utf-8")
    return [_clip(folder, name, davis / "JPEGImages" / "480p" / name, files, listing) for name in names]


def _clip(folder: Path, name: str, frames: Path, files: list[Sentences], listing: Path) -> Clip:
    stems = sorted(Path(file).stem for file in folder_names(frames, listing) if file.endswith(".jpg"))
    with describing(folder, f"clip {name}"):
        numbers = sorted(files[0][name])
        expressions = [
            Expression(texts[name][number], None, id=str(len(files) * place + annotator), details={"objects": [number]})
            for place, number in enumerate(numbers)
            for annotator, texts in enumerate(files)
        ]
    if not stems or not expressions:
        raise DataError(f"{frames} has {len(stems)} frames and {folder} {len(expressions)} expressions for it")
    return Clip(name, tuple(stems), tuple(expressions))


def _sentences(path: Path, encoding: str) -> dict[str, dict[str, str]]:
    """{clip: {object: sentence}} from lines like: bear 1 "a brown bear"."""
    found: dict[str, dict[str, str]] = {}
    for count, line in enumerate(_lines(path, encoding), start=1):
        with describing(path, f"line {count}"):
            name, number, sentence = line.split(maxsplit=2)
            found.setdefault(_MISSPELT.get(name, name), {})[str(int(number))] = clean(sentence.strip('"'))
    return found


def _lines(path: Path, encoding: str) -> list[str]:
    try:
        text = path.read_text(encoding=encoding)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); download it again") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
