"""The authors' weights by their name on the hub: fetched and converted once, then read from the cache."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HTTPError  # of the HTTP library it uses, which changes with its version

from instructseg.errors import CheckpointError

# Each name with the beginning of the one commit that is read: the hub's files may change, this one cannot.
RELEASED = {"weic22/InstructSeg": "d5375970"}
FILES = ["*.json", "*.safetensors", "*.bin", "*.txt", "*.model"]


def released_folder(name: str) -> Path:
    """The converted model of a name in `RELEASED`, made on first use (about 7 GB to fetch and 7 GB more to keep).

    Raises CheckpointError when it is neither in the cache nor within reach, with the way to bring it by hand.
    """
    target = converted_folder(name)
    if not (target / "config.json").is_file():
        from instructseg.conversion.convert import convert_released

        convert_released(_snapshot(name, target), target)
    return target


def converted_folder(name: str) -> Path:
    """Where the converted model is kept, beside the hub's own cache."""
    return Path(constants.HF_HOME) / "instructseg" / f"{name.replace('/', '--')}-{RELEASED[name]}"


def _snapshot(name: str, target: Path) -> Path:
    """The files as the authors wrote them, from the hub's cache or from the hub."""
    snapshots = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots"
    try:
        commit = next((folder.name for folder in snapshots.glob(f"{RELEASED[name]}*")), None) or _commit(name)
        return Path(snapshot_download(name, revision=commit, allow_patterns=FILES))
    except (OSError, HTTPError) as error:
        revision = RELEASED[name]
        raise CheckpointError(
            f"{name} is not in the cache and cannot be fetched ({type(error).__name__}). Where there is a network, "
            f"fetch the files of https://huggingface.co/{name}/tree/{revision} into a folder SRC, copy it here, and "
            f"run: instructseg convert released SRC {target}"
        ) from error


def _commit(name: str) -> str:
    """The full name of the pinned commit."""
    commits = [commit.commit_id for commit in HfApi().list_repo_commits(name)]
    found = [commit for commit in commits if commit.startswith(RELEASED[name])]
    if len(found) != 1:
        raise CheckpointError(f"{name} on the hub has {len(found)} commits {RELEASED[name]}; exactly one was needed")
    return found[0]
