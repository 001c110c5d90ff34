"""`instructseg train`: train a model from a recipe."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from instructseg.commands.report import errors_in_one_line


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE", help="A recipe of the package (nano, finetune, paper, paper_finetune) or a .yaml file."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Overrides of the recipe's values.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of recipes, for editors, and exit.")
    ] = False,
    path: Annotated[
        bool, typer.Option("--path", help="Print the path of RECIPE's file, e.g. of accelerate/ddp, and exit.")
    ] = False,
) -> None:
    """Train a model from a recipe. Run the same command again to resume from the last checkpoint."""
    with errors_in_one_line():
        if schema:
            typer.echo(_schema())
            return
        if recipe is None:
            raise typer.BadParameter("expected a recipe, got none; e.g. instructseg train nano", param_hint="RECIPE")
        if path:
            from instructseg.training.recipe_files import find_recipe

            typer.echo(find_recipe(recipe))
            return
        from instructseg.training.run import train_from_recipe

        train_from_recipe(recipe, overrides or [])


def _schema() -> str:
    from instructseg.training.recipe import Recipe
    from instructseg.training.recipe_checks import json_schema

    return json.dumps(json_schema(Recipe), indent=2)
