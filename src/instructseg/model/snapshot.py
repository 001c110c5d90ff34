"""Models of the Hugging Face hub as local folders: all files of a load come from one commit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # its HTTP library changes with its version
)

from instructseg.errors import CheckpointError

FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.md"]
"""What a model's repository may contain that loading reads, and its card."""

HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only", "force_download")
"""Keyword arguments of `from_pretrained` that say how a repository is fetched."""


def local_folder(name: str | os.PathLike, options: Mapping[str, Any] | None = None) -> Path:
    """The folder `name` itself, or the snapshot of the hub repository `name`, downloaded if it is not in the cache.

    `options` may have the `HUB_OPTIONS`, with the meaning they have in transformers: `revision` is a branch, a tag or a
    commit. Raises CheckpointError when `name` is neither a folder nor a repository in the cache or within reach.
    """
    if os.path.isdir(name):
        return Path(name)
    chosen = {key: value for key, value in (options or {}).items() if key in HUB_OPTIONS and value is not None}
    try:
        return Path(snapshot_download(str(name), allow_patterns=FILES, **chosen))
    except (OSError, ValueError, HTTPError) as error:
        revision = f" (revision {chosen['revision']})" if "revision" in chosen else ""
        raise CheckpointError(
            f"{name}{revision} is neither a folder nor a model in the hub's cache, and the hub did not provide it "
            f"({type(error).__name__}: {_first_line(error)}); check the name, or download it where there is internet: "
            f"hf download {name}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]
