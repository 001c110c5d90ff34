"""Recipe files: their locations, their YAML, and key=value overrides."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml

from instructseg.errors import RecipeError

RECIPES = Path(__file__).parents[1] / "recipes"
"""The recipes that are part of the package."""


MAX_BYTES, MAX_DEPTH, MAX_VALUES = 100_000, 30, 5_000
"""Limits of a recipe file: its size, the depth of its sections, and its values with every alias expanded."""


class _Loader(yaml.SafeLoader):
    """SafeLoader for recipes, which may come from other people.

    1e-4 is a number, as in YAML 1.2; in YAML 1.1 it is text. Dates are text. Raises YAMLError, before any value is
    built, for sections deeper than MAX_DEPTH and for more than MAX_VALUES values: nine lines of aliases can stand for
    a billion.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._values = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        is_alias, before = self.check_event(yaml.AliasEvent), self._values
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(f"expected sections nested at most {MAX_DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise yaml.YAMLError("an alias stands inside the section that it refers to")
        self._values += self._sizes[id(node)] if is_alias else 1
        if self._values > MAX_VALUES:
            raise yaml.YAMLError(f"expected at most {MAX_VALUES} values, aliases expanded")
        self._sizes.setdefault(id(node), self._values - before)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


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


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, an empty section for an empty file. Raises RecipeError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"expected a recipe of at most {MAX_BYTES} bytes, got more in {path}; is it a recipe?")
    try:
        return _parse(content.decode("utf-8-sig")) or {}
    except ValueError as error:
        raise RecipeError(f"the recipe {path} is not valid YAML: {error}") from None


def _parse(text: str) -> Any:
    """The content of YAML. Raises ValueError."""
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, OverflowError) as error:  # e.g. "!!int a"
        raise ValueError(" ".join(str(error).split())) from None


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Apply an override such as "data.root=/datasets" to a tree in place; the value is YAML. Raises RecipeError."""
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
    section[last] = _value(override, text)


def _value(override: str, text: str) -> Any:
    try:
        value = _parse(text[:MAX_BYTES])
    except ValueError as error:
        raise RecipeError(f"the value of {override!r} is not valid YAML: {error}") from None
    if isinstance(value, bool) and text.strip().lower() not in ("true", "false"):
        return text.strip()  # YAML 1.1 reads the word "no" as false
    return value
