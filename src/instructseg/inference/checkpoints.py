"""Where a model's weights lie: a shipped name, a folder, or a hub id."""

from __future__ import annotations

import difflib
from pathlib import Path

from instructseg.errors import CheckpointError
from instructseg.inference import hub

SHIPPED = ("nano",)
PACKAGE = Path(__file__).parents[1]


def find(name: str | Path) -> str:
    """The folder of a shipped model, of a path or of the authors' model; another hub id comes back as it is.

    Raises CheckpointError when it is none of these, with what would be.
    """
    if str(name) in SHIPPED:
        return str(_shipped(str(name)))
    path = Path(name).expanduser()
    if (path / "config.json").is_file():
        return str(path)
    if path.exists():
        raise CheckpointError(f"{path} has no config.json; give a folder that a training or save_pretrained wrote")
    if str(name) in hub.RELEASED:
        return str(hub.released_folder(str(name)))
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        return str(name)
    near = difflib.get_close_matches(str(name), SHIPPED, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give {', '.join(SHIPPED)}, a folder, or a hub id owner/name"
    raise CheckpointError(f"there is no model {str(name)!r}; {hint}")


def _shipped(name: str) -> Path:
    candidates = (PACKAGE / "weights" / name, PACKAGE.parents[1] / "weights" / name)
    for folder in candidates:
        if (folder / "config.json").is_file():
            return folder
    raise CheckpointError(
        f"the weights of {name} are not in this installation (looked in {', '.join(map(str, candidates))}); "
        "install the package again, or give the folder of a model"
    )
