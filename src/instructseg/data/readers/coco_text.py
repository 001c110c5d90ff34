"""COCO photos with words: the captions people wrote as conversations, and instructions derived from the masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from instructseg.data.readers.coco_instances import CocoInstances, read_photo
from instructseg.data.readers.files import Photo, read_json
from instructseg.errors import DataError
from instructseg.synthesis.composer import validation_set
from instructseg.types import Expression, Sample, Task

CAPTION_REQUEST = "Describe the image in one sentence."


class CocoCaptions(Sequence[Sample]):
    """A captions file (https://cocodataset.org/#format-data): for each photo the same request and several answers."""

    def __init__(self, annotation_file: str | Path, image_dir: str | Path) -> None:
        self.annotation_file, self.image_dir = Path(annotation_file), Path(image_dir)
        content = read_json(self.annotation_file)
        try:
            self._captions: dict[int, list[tuple[str, str]]] = {photo["id"]: [] for photo in content["images"]}
            for each in content["annotations"]:
                self._captions[each["image_id"]].append((str(each["id"]), each["caption"].strip()))
            self._photos = [photo for photo in content["images"] if self._captions[photo["id"]]]
            self._names = [str(photo["file_name"]) for photo in self._photos]
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{self.annotation_file} is no COCO captions file ({error!r})") from error

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        identity = self._photos[index]["id"]
        expressions = tuple(
            Expression(CAPTION_REQUEST, None, "caption", name, answer=caption)
            for name, caption in self._captions[identity]
        )
        path = self.image_dir / self._names[index]
        return Sample(f"coco/{identity}", Task.CHAT, Photo(read_photo(path), path), expressions, dataset="coco")


class _First(Sequence):
    """The first items of a sequence."""

    def __init__(self, items: Sequence, most: int) -> None:
        self.items, self.most = items, most

    def __len__(self) -> int:
        return min(self.most, len(self.items))

    def __getitem__(self, index: int):
        return self.items[range(len(self))[index]]


def coco_templates(annotation_file: str | Path, image_dir: str | Path, most: int = 1000, seed: int = 0) -> list[Sample]:
    """Natural samples with templated instructions from the first `most` photos of an instances file.

    They are made at once and kept in memory (about 1 MB a photo), since which nouns make sense as "not there" depends
    on all the photos; see `compose_validation`.
    """
    return validation_set(_First(CocoInstances(annotation_file, image_dir), most), seed=seed)
