"""The documentation site: its navigation, links, reference pages and hooks; and the strict build where mkdocs is
installed (`make docs`, and a job of its own in CI)."""

import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml

import instructseg
from tools import site_hooks

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if DOCS / "results" not in path.parents)
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "weights/nano/MODEL_CARD.md")]
OTHERS += sorted((ROOT / "examples").rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)")


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without importing what its tags name."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda _loader, suffix, _node: suffix)
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)


def words_of(path):
    """The Markdown of a page or notebook without its code, where brackets mean something else."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """The anchors that both GitHub and Python-Markdown give a page's headings."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = [title.replace("`", "") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    plain = [re.sub(r"[^\w\s-]", "", unicodedata.normalize("NFKD", title)).strip().lower() for title in titles]
    return {title.replace(" ", "-") for title in plain} & {re.sub(r"[-\s]+", "-", title) for title in plain}


def pages_of(entries):
    for entry in entries:
        for target in entry.values() if isinstance(entry, dict) else [entry]:
            yield from pages_of(target) if isinstance(target, list) else [target]


def test_every_page_is_in_the_navigation_once():
    shown = list(pages_of(SITE["nav"]))
    assert sorted(shown) == sorted(path.relative_to(DOCS).as_posix() for path in PAGES)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS, *NOTEBOOKS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page):
    dead = []
    for target, anchor in LINK.findall(words_of(page)):
        path = (page.parent / target) if target else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            dead.append(f"{target}#{anchor}" if anchor else target)
    assert dead == []


def test_the_reference_has_every_public_name():
    reference = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    objects = [find(name) for name in re.findall(r"^::: ([\w.]+)$", reference, re.MULTILINE)]
    public = [getattr(instructseg, name) for name in instructseg.__all__ if name != "__version__"]
    errors = [value for value in public if inspect.isclass(value) and issubclass(value, Exception)]
    assert [value.__name__ for value in public if value not in objects and value not in errors] == []
    assert instructseg.errors in objects and all(inspect.getdoc(value) for value in objects)


def find(name):
    """The module, class or function of a full name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, own = name.rpartition(".")
        return getattr(importlib.import_module(module), own)


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("[m](../src/instructseg/cli.py)", "[m](https://github.com/o/n/blob/v1/src/instructseg/cli.py)"),
        ("[d](../src) and [p](photos.md#errors)", "[d](https://github.com/o/n/tree/v1/src) and [p](photos.md#errors)"),
        ("![b](pictures/clip.jpg) [w](https://a.b/c)", "![b](pictures/clip.jpg) [w](https://a.b/c)"),
        ("[gone](../src/gone.py)", "[gone](../src/gone.py)"),
    ],
)
def test_links_that_leave_the_site(text, mended):
    published = {"photos.md", "pictures/clip.jpg"}
    assert site_hooks.mend_links(text, "scale.md", published, "https://github.com/o/n", "v1") == mended


def test_links_without_an_address_become_words():
    assert site_hooks.mend_links("[the log](../../CHANGELOG.md).", "api/index.md", set(), "", "main") == "the log."


@pytest.mark.slow
def test_the_strict_build(tmp_path):
    for name in ("mkdocs", "material", "mkdocstrings_handlers"):
        if importlib.util.find_spec(name) is None:
            pytest.skip("the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    unknown = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "INSTRUCTSEG_"))}
    done = subprocess.run(command, cwd=ROOT, env=unknown, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Segmenter.segment_many" in (tmp_path / "site" / "api" / "photos" / "index.html").read_text()
