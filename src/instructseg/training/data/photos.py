"""Opens the photos with instance masks that a recipe's data section names, and the composer's settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from instructseg.data.own_data import photo_name
from instructseg.data.problems import Problems
from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.files import read_json_of
from instructseg.data.readers.label_maps import LabelMaps
from instructseg.data.readers.labelme import LabelMePhotos
from instructseg.data.readers.split import is_validation
from instructseg.data.readers.yolo import YoloPhotos
from instructseg.errors import DataError, RecipeError
from instructseg.media.files import expand_user
from instructseg.synthesis.composer import ComposeConfig
from instructseg.training.recipe import DataRecipe
from instructseg.types import InstancePhoto


class InstanceReader(Protocol):
    """Photos with instance masks whose ids are available without decoding."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> InstancePhoto: ...

    def photo_id(self, index: int, /) -> str: ...


class SelectedPhotos(Sequence[InstancePhoto]):
    """Selected photos of several readers, given as pairs of a reader and an index into it.

    With `problems`, iteration leaves out photos that cannot be read and adds them to it; otherwise it raises DataError.
    """

    def __init__(
        self,
        entries: Sequence[tuple[Sequence[InstancePhoto] | InstanceReader, int]],
        problems: Problems | None = None,
    ) -> None:
        self.entries, self.problems = list(entries), problems

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> InstancePhoto:  # pyright: ignore[reportIncompatibleMethodOverride] no slices
        reader, position = self.entries[index]
        return reader[position]

    def __iter__(self) -> Iterator[InstancePhoto]:
        for reader, position in self.entries:
            try:
                photo = reader[position]
            except DataError as error:
                if self.problems is None:
                    raise
                self.problems.add(photo_name(reader, position), error, "photo")
            else:
                yield photo


def open_photos(recipe: DataRecipe, validation: bool, problems: Problems | None = None) -> SelectedPhotos:
    """The training photos, or with `validation` the held-out photos, of every source to compose from.

    Entries that cannot be used are left out and added to `problems`. Without it they raise DataError: scores of an
    incomplete set would not be comparable. Raises RecipeError if the recipe names no source.
    """
    readers = _open_readers(recipe)
    for reader in readers:
        found = getattr(reader, "problems", Problems())
        if problems is not None:
            problems.extend(found)
        elif found.faults:
            raise found.refuse("the data is incomplete")
    return SelectedPhotos(
        [
            (reader, index)
            for reader in readers
            for index in range(len(reader))
            if is_validation(reader.photo_id(index), recipe.validation_percent) == validation
        ],
        problems,
    )


def _open_readers(recipe: DataRecipe) -> list[InstanceReader]:
    side, root = compose_config(recipe).cache_side, expand_user(recipe.root)
    readers: list[InstanceReader] = []
    for index, source in enumerate(recipe.coco):
        _check_keys(f"data.coco[{index}]", source, {"annotations", "images"}, {"prefix"})
        files, prefix = (root / source["annotations"], root / source["images"]), source.get("prefix", "coco")
        readers.append(CocoInstances(*files, max_side=side, prefix=prefix))
    for index, source in enumerate(recipe.label_maps):
        _check_keys(f"data.label_maps[{index}]", source, {"images", "masks", "names"}, {"prefix"})
        names = read_json_of(root / source["names"], "a list of names", list)
        folders = root / source["images"], root / source["masks"]
        readers.append(LabelMaps(*folders, names, max_side=side, prefix=source.get("prefix", "labels")))
    for index, source in enumerate(recipe.labelme):
        _check_keys(f"data.labelme[{index}]", source, {"folder"}, {"prefix"})
        prefix = source.get("prefix", "labelme")
        readers.append(LabelMePhotos(root / source["folder"], max_side=side, prefix=prefix))
    for index, source in enumerate(recipe.yolo):
        _check_keys(f"data.yolo[{index}]", source, {"folder"}, {"prefix"})
        readers.append(YoloPhotos(root / source["folder"], max_side=side, prefix=source.get("prefix", "yolo")))
    if not readers:
        raise RecipeError(
            "the recipe has no data; set data.coco, data.label_maps, data.labelme, data.yolo or data.sources"
        )
    return readers


def compose_config(recipe: DataRecipe) -> ComposeConfig:
    """The composer's settings, from data.compose. Raises RecipeError for an unknown key."""
    try:
        return ComposeConfig(**recipe.compose)
    except TypeError as error:
        raise RecipeError(f"data.compose: {error}") from None


def _check_keys(
    where: str, source: Mapping[str, str], required: Collection[str], optional: Collection[str] = ()
) -> None:
    known = {*required, *optional}
    missing, unknown = sorted({*required} - {*source}), sorted({*source} - known)
    if missing or unknown:
        problem = f"missing keys {', '.join(missing)}" if missing else f"unknown key {unknown[0]}"
        raise RecipeError(f"{where}: {problem}; known keys: {', '.join(sorted(known))}")
