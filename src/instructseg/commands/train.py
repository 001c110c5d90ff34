"""`instructseg train`: a recipe in, weights out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instructseg.commands.report import errors_in_one_line


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file, e.g. recipes/nano.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that replace those of the recipe.")
    ] = None,
) -> None:
    """Train a model from a recipe."""
    with errors_in_one_line():
        from instructseg.training.run import train_from_recipe

        train_from_recipe(recipe, overrides or [])
