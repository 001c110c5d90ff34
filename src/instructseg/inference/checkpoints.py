"""Find a model's folder: a shipped name, a folder, or a hub id."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from instructseg.errors import CheckpointError
from instructseg.inference import hub
from instructseg.media.files import expand_user
from instructseg.model.snapshot import local_folder

SHIPPED = ("nano",)
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.pth")
PACKAGE = Path(__file__).parents[1]


def find_checkpoint(
    name: str | Path, revision: str | None = None, token: str | bool | None = None, cache_dir: str | Path | None = None
) -> str:
    """The folder of a model: a shipped name, a path, or a hub id, which is downloaded on first use.

    The hub id of the authors' model is also converted on first use. Three arguments apply to hub ids only: `revision`
    (a branch, a tag or a commit), `token` (None: the one of `hf auth login`) and `cache_dir` (None: the folder named by
    the environment variable INSTRUCTSEG_CACHE, else the hub's own cache).

    Raises CheckpointError, listing the known names, when `name` is none of these, when the hub does not provide it, and
    for a revision of something that is not on the hub.
    """
    if not isinstance(name, str | Path):
        raise CheckpointError(
            f"expected model to be a name, a folder or a hub id, got {type(name).__name__}; pass {SHIPPED[0]!r}"
        )
    folder = _shipped(str(name)) if str(name) in SHIPPED else _folder(name)
    if folder and revision is not None:
        raise CheckpointError(
            f"expected no revision for {name}, which is not on the hub, got {revision!r:.100}; leave it out, or pass a "
            "hub id"
        )
    if folder:
        return str(folder)
    options = {"revision": revision, "token": token, "cache_dir": cache_dir or hub.cache_folder()}
    if str(name) in hub.RELEASED:
        return str(hub.released_folder(str(name), options))
    if _is_hub_id(str(name)):
        return str(local_folder(name, options))
    similar = difflib.get_close_matches(str(name), SHIPPED, n=1)
    hint = f"did you mean {similar[0]}?" if similar else f"pass {', '.join(SHIPPED)}, a folder, or a hub id owner/name"
    raise CheckpointError(f"model {str(name)!r:.200} not found; {hint}")


def _is_hub_id(name: str) -> bool:
    """Whether a name that is not a folder may be a hub id: owner/name, unless "owner" is a local folder."""
    owner, slash, rest = name.partition("/")
    return bool(slash and owner and rest) and "/" not in rest and owner[0] not in ".~" and not os.path.isdir(owner)


def _folder(name: str | Path) -> Path | None:
    """The folder `name`, None if it does not exist. Raises CheckpointError if it contains no model."""
    try:
        path = expand_user(name)
        if not str(name) or not path.exists():
            return None
        if (path / "config.json").is_file():
            return path
    except PermissionError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}; change its permissions") from error
    except (OSError, RuntimeError, ValueError):  # not a valid path: too long, ~ of an unknown user, NUL byte
        return None
    if path.is_dir() and any(next(path.glob(pattern), None) for pattern in WEIGHT_FILES):
        raise CheckpointError(
            f"expected config.json in {path}, got weights alone; convert the authors' files once: "
            f"instructseg convert released {path} DST, and pass DST"
        )
    raise CheckpointError(
        f"expected config.json in {path}, got none; pass a folder written by training or save_pretrained"
    )


def _shipped(name: str) -> Path:
    candidates = (PACKAGE / "weights" / name, PACKAGE.parents[1] / "weights" / name)
    for folder in candidates:
        if (folder / "config.json").is_file():
            return folder
    raise CheckpointError(
        f"expected the weights of {name} in {' or '.join(map(str, candidates))}, got none; "
        "reinstall the package, or pass the folder of a model"
    )
