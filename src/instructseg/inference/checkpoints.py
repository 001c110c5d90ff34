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
    if not isinstance(name, str | Path):
        raise CheckpointError(f"the model is {type(name).__name__}; a name, a folder or a hub id was needed")
    if str(name) in SHIPPED:
        return str(_shipped(str(name)))
    folder = _folder(name)
    if folder:
        return str(folder)
    if str(name) in hub.RELEASED:
        return str(hub.released_folder(str(name)))
    if str(name).count("/") == 1 and not str(name).startswith((".", "/", "~")):
        return str(name)
    near = difflib.get_close_matches(str(name), SHIPPED, n=1)
    hint = f"did you mean {near[0]}?" if near else f"give {', '.join(SHIPPED)}, a folder, or a hub id owner/name"
    raise CheckpointError(f"there is no model {str(name)!r:.200}; {hint}")


def _folder(name: str | Path) -> Path | None:
    """The folder of that name, None when there is none. Raises CheckpointError when it holds no model."""
    try:
        path = Path(name).expanduser()
        if not str(name) or not path.exists():
            return None
        if (path / "config.json").is_file():
            return path
    except PermissionError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}") from error
    except (OSError, RuntimeError, ValueError):  # no path can be so: too long, ~ of an unknown user, a zero byte
        return None
    raise CheckpointError(f"{path} has no config.json; give a folder that a training or save_pretrained wrote")


def _shipped(name: str) -> Path:
    candidates = (PACKAGE / "weights" / name, PACKAGE.parents[1] / "weights" / name)
    for folder in candidates:
        if (folder / "config.json").is_file():
            return folder
    raise CheckpointError(
        f"the weights of {name} are not in this installation (looked in {', '.join(map(str, candidates))}); "
        "install the package again, or give the folder of a model"
    )
