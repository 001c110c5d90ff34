"""Build hook: the description on a package index is README.md with absolute links, as an index has no other files.

The address of the repository comes from the environment, as README.md does not know where it is published:
INSTRUCTSEG_REPOSITORY (https://github.com/OWNER/NAME) and INSTRUCTSEG_REVISION (a tag or commit), or what GitHub
Actions sets for each job. Without an address, pictures are left out and links become plain text: nothing is broken.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)]+)\)\n*")
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")


class IndexReadme(MetadataHookInterface):
    """Sets the field `readme`."""

    def update(self, metadata: dict) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": index_readme(text, os.environ)}


def index_readme(text: str, environment: Mapping[str, str]) -> str:
    """`text` for a package index. Raises ValueError for an address that is not one of GitHub's."""
    address, revision = find_repository(environment)
    if not address:
        return LINK.sub(r"\1", PICTURE.sub("", text))
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+?)/?", address)
    if match is None:
        raise ValueError(f"expected INSTRUCTSEG_REPOSITORY to be https://github.com/OWNER/NAME, got {address!r}")
    name = match[1]
    text = PICTURE.sub(rf"![\1](https://raw.githubusercontent.com/{name}/{revision}/\2)\n\n", text)
    return LINK.sub(rf"[\1](https://github.com/{name}/blob/{revision}/\2)", text)


def find_repository(environment: Mapping[str, str]) -> tuple[str, str]:
    """The repository's address, empty if it is not known, and the revision that links lead to."""
    address, revision = environment.get("INSTRUCTSEG_REPOSITORY", ""), environment.get("INSTRUCTSEG_REVISION", "")
    if not address and environment.get("GITHUB_REPOSITORY"):
        address = f"{environment.get('GITHUB_SERVER_URL', 'https://github.com')}/{environment['GITHUB_REPOSITORY']}"
    return address, revision or environment.get("GITHUB_SHA", "") or "main"
