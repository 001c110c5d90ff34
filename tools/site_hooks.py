"""Hooks of the documentation site (mkdocs.yml): the repository's address, and links that leave docs/.

Pages link to files of the repository by relative paths, which work on GitHub but not on the site. Here they become
absolute addresses, or plain text where the repository's address is not known; hatch_build.py does the same for the
description on a package index.
"""

from __future__ import annotations

import importlib.util
import os
import posixpath
import re
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|[#/])([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any, **_: Any) -> Any:
    """Show the repository in the page's head if its address is known."""
    address, _revision = _repository()
    if address:
        config.repo_url = address
    return config


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """The page with its links mended; code blocks have no such links."""
    published = {file.src_uri for file in files if file.inclusion.is_included()}
    return mend_links(markdown, page.file.src_uri, published, *_repository())


def mend_links(markdown: str, page: str, published: set[str], address: str, revision: str) -> str:
    """Replace relative links to files that the site does not have.

    page: the page's path below docs/. published: the paths below docs/ that the site has. address: the repository's
    address, or empty. Links to files that do not exist at all stay, so that the strict build reports them.
    """

    def mend(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
        if path.removeprefix("docs/") in published or not (ROOT / path).exists():
            return link[0]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"[{text}]({address}/{kind}/{revision}/{path}{anchor})" if address else text

    return LINK.sub(mend, markdown)


def _repository() -> tuple[str, str]:
    """The repository's address without a slash at its end, empty if it is not known, and the revision."""
    address, revision = _hatch_build().find_repository(os.environ)
    return address.rstrip("/"), revision


def _hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
