"""The example photos of the page, with sentences to start from."""

from __future__ import annotations

from pathlib import Path

from instructseg.errors import InputError

EXAMPLES = {
    "camera.jpg": ["the man", "the camera"],
    "coffee.jpg": ["the cup", "the spoon"],
    "chelsea.jpg": ["the cat"],
    "astronaut.jpg": ["the woman", "the helmet"],
    "raccoon.jpg": ["the raccoon"],
}
PACKAGE = Path(__file__).parents[2]


def example_path(name: str) -> Path:
    """The photo's file: in the package (a wheel), or in the checkout's folder of examples.

    Raises InputError when it is in neither.
    """
    for folder in (PACKAGE / "examples", PACKAGE.parents[1] / "examples"):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"expected the example {name} in the package or its checkout; reinstall the package")
