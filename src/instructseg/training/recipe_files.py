"""Recipe files: their locations, their YAML, and key=value overrides."""

from __future__ import annotations

import difflib
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from instructseg.errors import RecipeError
from instructseg.media.yaml_text import MAX_BYTES, parse_yaml
from instructseg.training.recipe_text import is_text, keep_text, kind_at

RECIPES = Path(__file__).parents[1] / "recipes"
"""The recipes that are part of the package."""


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe: a packaged one by its bare name ("nano", "table6", "accelerate/ddp"), or a path.

    A file takes precedence over a packaged recipe of the same name only if it ends in .yaml. Former paths such as
    "recipes/nano.yaml" also find the packaged recipe. Raises RecipeError if there is none.
    """
    path, packaged = Path(name), _packaged()
    bare = path.with_suffix("").as_posix().removeprefix("recipes/") if path.suffix == ".yaml" else path.as_posix()
    old_spelling = path.suffix == ".yaml" and path.parts[0] == "recipes"
    if path.suffix == ".yaml" and path.exists():
        return path
    if bare in packaged and (old_spelling or path.suffix != ".yaml"):
        return packaged[bare]
    if path.exists():
        return path
    if path.suffix or len(path.parts) > 1:
        hint = f"; did you mean the packaged recipe {path.stem}?" if path.stem in packaged else ""
        raise RecipeError(f"the recipe {path} does not exist{hint}")
    near = difflib.get_close_matches(bare, packaged, n=1)
    hint = f"did you mean {near[0]}?" if near else "choose one of them, or give the path of a .yaml file"
    raise RecipeError(f"there is no recipe {bare!r} among {', '.join(_bare_names())}; {hint}")


def recipe_name(path: Path) -> str:
    """The bare name of a packaged recipe, e.g. "paper"; other paths unchanged."""
    return path.relative_to(RECIPES).with_suffix("").as_posix() if path.is_relative_to(RECIPES) else str(path)


def _packaged() -> dict[str, Path]:
    """Name -> path of the packaged files; ablation tables are also listed without their folder."""
    files = {path.relative_to(RECIPES).with_suffix("").as_posix(): path for path in RECIPES.rglob("*.yaml")}
    tables = {path.stem: path for path in RECIPES.glob("ablations/table*.yaml")}
    return files | tables


def _bare_names() -> list[str]:
    return sorted(path.stem for path in [*RECIPES.glob("*.yaml"), *RECIPES.glob("ablations/table*.yaml")])


def read_yaml(path: Path, kind: Any = None) -> Any:
    """The content of a YAML file, an empty section for an empty file. Raises RecipeError.

    Text fields of the type `kind` are kept as written.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    try:
        return _parse(content, kind) or {}
    except ValueError as error:
        raise RecipeError(f"the recipe {path} is not valid YAML: {error}") from None


def apply_override(tree: dict[str, Any], override: str, kind: Any = None) -> None:
    """Apply an override such as "data.root=/datasets" to a tree in place. Raises RecipeError.

    The value is YAML. That of a text field of the type `kind` is kept as written, unless it is in quotes.
    """
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"expected an override key=value, got {override!r}; write it as steps=100")
    *sections, last = key.split(".")
    section: Any = tree
    for depth, name in enumerate([*sections, last]):
        if not isinstance(section, dict):
            where = ".".join(sections[:depth]) or "the recipe"
            raise RecipeError(f"cannot set {key}: {where} is not a section of keys")
        if depth < len(sections):
            section = section.setdefault(name, {})
    section[last] = _value(override, text, kind_at(kind, key))


def _value(override: str, text: str, kind: Any) -> Any:
    word = text.strip()
    is_written_as_is = is_text(kind) or (is_dataclass(kind) and not word.startswith("{"))  # data=PATH
    if is_written_as_is and word not in ("", "null", "~") and not (word[0] == word[-1] and word[0] in "'\""):
        return word
    try:
        value = _parse(text, kind)
    except ValueError as error:
        raise RecipeError(f"the value of {override!r:.200} is not valid YAML: {error}") from None
    if isinstance(value, bool) and text.strip().lower() not in ("true", "false"):
        return text.strip()  # YAML 1.1 reads the word "no" as false
    return value


def _parse(content: str | bytes, kind: Any) -> Any:
    """The content of YAML, with the text fields of the type `kind` as written. Raises ValueError."""
    value = parse_yaml(content)
    return value if kind is None else keep_text(kind, value, parse_yaml(content, as_text=True))
