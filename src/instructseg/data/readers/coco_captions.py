"""COCO captions (https://cocodataset.org/#format-data) as conversations of one turn."""

from __future__ import annotations

from pathlib import Path

from instructseg.data.readers.base import Reader, parsing
from instructseg.data.readers.files import PhotoFrames, read_json, read_photo
from instructseg.data.readers.paths import listed_path
from instructseg.types import Expression, Sample, Task

CAPTION_REQUEST = "Describe the image in one sentence."


class CocoCaptions(Reader[Sample]):
    """One sample per photo of a captions file: the same request once per caption, with the caption as `answer`.

    Sample ids are `coco/ID`; expressions have the caption's id and kind "caption".
    """

    def __init__(self, annotation_file: str | Path, image_dir: str | Path) -> None:
        self.annotation_file, self.image_dir = Path(annotation_file), Path(image_dir)
        content = read_json(self.annotation_file)
        with parsing(self.annotation_file, "the list of captions"):
            self._captions: dict[int, list[tuple[str, str]]] = {photo["id"]: [] for photo in content["images"]}
            for annotation in content["annotations"]:
                caption = (str(annotation["id"]), annotation["caption"].strip())
                self._captions[annotation["image_id"]].append(caption)
            self._photos = [photo for photo in content["images"] if self._captions[photo["id"]]]
            self._names = [str(photo["file_name"]) for photo in self._photos]

    def __len__(self) -> int:
        return len(self._photos)

    def read(self, index: int) -> Sample:
        identity, path = self._photos[index]["id"], listed_path(self.image_dir, self._names[index])
        expressions = tuple(
            Expression(CAPTION_REQUEST, None, "caption", number, answer=caption)
            for number, caption in self._captions[identity]
        )
        frames = PhotoFrames(read_photo(path), path)
        return Sample(f"coco/{identity}", Task.CHAT, frames, expressions, dataset="coco")
