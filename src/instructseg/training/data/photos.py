"""From a recipe's data section to photos with instance masks, and how samples are composed from them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from instructseg.data.readers.coco_instances import CocoInstances
from instructseg.data.readers.label_maps import LabelMaps
from instructseg.data.readers.labelme import LabelMePhotos
from instructseg.data.readers.split import is_validation
from instructseg.errors import RecipeError
from instructseg.synthesis.composer import ComposeConfig
from instructseg.training.recipe import DataRecipe
from instructseg.types import InstancePhoto


class Photos(Sequence[InstancePhoto]):
    """Chosen photos of several readers, one after the other."""

    def __init__(self, entries: Sequence[tuple[Sequence[InstancePhoto], int]]):
        self.entries = list(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> InstancePhoto:  # type: ignore[override]
        reader, position = self.entries[index]
        return reader[position]


def open_photos(recipe: DataRecipe, validation: bool) -> Photos:
    """The training or the validation photos of every source of the recipe."""
    side, root = compose_config(recipe).cache_side, Path(recipe.root).expanduser()
    readers: list = []
    for at, source in enumerate(recipe.coco):
        _check_keys(f"data.coco[{at}]", source, {"annotations", "images"})
        readers.append(CocoInstances(root / source["annotations"], root / source["images"], max_side=side))
    for at, source in enumerate(recipe.label_maps):
        _check_keys(f"data.label_maps[{at}]", source, {"images", "masks", "names"}, {"prefix"})
        names, prefix = json.loads((root / source["names"]).read_text()), source.get("prefix", "labels")
        folders = root / source["images"], root / source["masks"]
        readers.append(LabelMaps(*folders, names, max_side=side, prefix=prefix))
    for at, source in enumerate(recipe.labelme):
        _check_keys(f"data.labelme[{at}]", source, {"folder"}, {"prefix"})
        prefix = source.get("prefix", "labelme")
        readers.append(LabelMePhotos(root / source["folder"], max_side=side, prefix=prefix))
    if not readers:
        raise RecipeError("the recipe names no data; give data.coco, data.label_maps, data.labelme or data.sources")
    return Photos(
        [
            (reader, index)
            for reader in readers
            for index in range(len(reader))
            if is_validation(reader.photo_id(index), recipe.validation_percent) == validation
        ]
    )


def compose_config(recipe: DataRecipe) -> ComposeConfig:
    try:
        return ComposeConfig(**recipe.compose)
    except TypeError as error:
        raise RecipeError(f"data.compose: {error}") from None


def _check_keys(
    where: str, source: Mapping[str, str], needed: set[str], optional: set[str] | frozenset[str] = frozenset()
) -> None:
    missing, unknown = needed - set(source), set(source) - needed - optional
    if missing or unknown:
        said = f"lacks {', '.join(sorted(missing))}" if missing else f"has the unknown key {sorted(unknown)[0]}"
        raise RecipeError(f"{where} {said}; its keys are {', '.join(sorted(needed | optional))}")
