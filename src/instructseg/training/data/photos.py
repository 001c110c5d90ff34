"""Opens the photos with instance masks that a recipe's data section names, and the composer's settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.files import read_json_of
from instructseg.data.readers.label_maps import LabelMaps
from instructseg.data.readers.labelme import LabelMePhotos
from instructseg.data.readers.split import is_validation
from instructseg.errors import RecipeError
from instructseg.synthesis.composer import ComposeConfig
from instructseg.training.recipe import DataRecipe
from instructseg.types import InstancePhoto


class InstanceReader(Protocol):
    """Photos with instance masks whose ids are available without decoding."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> InstancePhoto: ...

    def photo_id(self, index: int, /) -> str: ...


class SelectedPhotos(Sequence[InstancePhoto]):
    """Selected photos of several readers, given as pairs of a reader and an index into it."""

    def __init__(self, entries: Sequence[tuple[Sequence[InstancePhoto] | InstanceReader, int]]) -> None:
        self.entries = list(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> InstancePhoto:  # pyright: ignore[reportIncompatibleMethodOverride] no slices
        reader, position = self.entries[index]
        return reader[position]


def open_photos(recipe: DataRecipe, validation: bool) -> SelectedPhotos:
    """The training photos, or with `validation` the held-out photos, of every source to compose from.

    Raises RecipeError if the recipe names no source, and DataError if one cannot be read.
    """
    return SelectedPhotos(
        [
            (reader, index)
            for reader in _open_readers(recipe)
            for index in range(len(reader))
            if is_validation(reader.photo_id(index), recipe.validation_percent) == validation
        ]
    )


def _open_readers(recipe: DataRecipe) -> list[InstanceReader]:
    side, root = compose_config(recipe).cache_side, Path(recipe.root).expanduser()
    readers: list[InstanceReader] = []
    for index, source in enumerate(recipe.coco):
        _check_keys(f"data.coco[{index}]", source, {"annotations", "images"})
        readers.append(CocoInstances(root / source["annotations"], root / source["images"], max_side=side))
    for index, source in enumerate(recipe.label_maps):
        _check_keys(f"data.label_maps[{index}]", source, {"images", "masks", "names"}, {"prefix"})
        names = read_json_of(root / source["names"], "a list of names", list)
        prefix = source.get("prefix", "labels")
        folders = root / source["images"], root / source["masks"]
        readers.append(LabelMaps(*folders, names, max_side=side, prefix=prefix))
    for index, source in enumerate(recipe.labelme):
        _check_keys(f"data.labelme[{index}]", source, {"folder"}, {"prefix"})
        prefix = source.get("prefix", "labelme")
        readers.append(LabelMePhotos(root / source["folder"], max_side=side, prefix=prefix))
    if not readers:
        raise RecipeError("the recipe has no data; set data.coco, data.label_maps, data.labelme or data.sources")
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
