"""The authors' weights by hub id: downloaded and converted once, then loaded from the cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # its HTTP library changes with its version
)

from instructseg.errors import CheckpointError
from instructseg.media.files import expand_user

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "INSTRUCTSEG_CACHE"
"""The environment variable with the folder for downloaded and converted models; unset or empty: the hub's own cache."""

RELEASED = {"weic22/InstructSeg": "d5375970"}
"""Hub ids, each with the prefix of the pinned commit: files on the hub may change, a commit cannot."""

FILES = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.model"]


def released_folder(name: str, options: Mapping[str, Any] | None = None) -> Path:
    """The folder of the converted model of a hub id in `RELEASED`.

    The first use downloads about 7 GB and writes 7 GB more. `options` are the arguments of `find_checkpoint`. Raises
    CheckpointError, with instructions for a manual download, when the files are neither cached nor reachable, and for
    another revision than the pinned one.
    """
    options = dict(options or {})
    revision = options.pop("revision", None)
    if revision is not None and not str(revision).startswith(RELEASED[name]):
        raise CheckpointError(
            f"expected revision {RELEASED[name]} of {name}, the one whose conversion is tested, got {revision!r:.100}; "
            "download another one and run: instructseg convert released SRC DST"
        )
    target = converted_folder(name)
    if not (target / "config.json").is_file():
        from instructseg.conversion.convert import convert_released  # imported here: most loads convert nothing

        logger.info("converting %s, once, into %s", name, target)
        convert_released(_snapshot(name, target, options), target)
    return target


def converted_folder(name: str) -> Path:
    """Where the converted model is stored: in `cache_folder()`, else beside the hub's own cache."""
    return (cache_folder() or Path(constants.HF_HOME) / "instructseg") / f"{name.replace('/', '--')}-{RELEASED[name]}"


def cache_folder() -> Path | None:
    """The folder that INSTRUCTSEG_CACHE names; None: the hub's own cache."""
    return expand_user(os.environ[CACHE_VARIABLE]) if os.environ.get(CACHE_VARIABLE) else None


def _snapshot(name: str, target: Path, options: Mapping[str, Any]) -> Path:
    """The folder of the authors' files, from the hub's cache or from the hub."""
    given = {key: value for key, value in options.items() if value is not None}
    snapshots = (
        Path(given.get("cache_dir") or constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots"
    )
    try:
        commit = next((folder.name for folder in snapshots.glob(f"{RELEASED[name]}*")), None) or _commit(
            name, given.get("token")
        )
        return Path(snapshot_download(name, revision=commit, allow_patterns=FILES, **given))
    except (OSError, HTTPError) as error:
        revision = RELEASED[name]
        raise CheckpointError(
            f"{name} is not in the cache and cannot be downloaded ({type(error).__name__}); with internet access, "
            f"download https://huggingface.co/{name}/tree/{revision} into a folder SRC, copy it here, and run: "
            f"instructseg convert released SRC {target}"
        ) from error


def _commit(name: str, token: str | bool | None) -> str:
    """The full id of the pinned commit."""
    commits = [commit.commit_id for commit in HfApi(token=token).list_repo_commits(name)]
    matching = [commit for commit in commits if commit.startswith(RELEASED[name])]
    if len(matching) != 1:
        raise CheckpointError(
            f"expected one commit {RELEASED[name]} of {name} on the hub, got {len(matching)}; "
            "use a copy of that commit: instructseg convert released SRC DST"
        )
    return matching[0]
