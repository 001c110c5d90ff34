"""Figures in README, docs and model card equal the result files they name; docs/figures.yaml lists them.

How to add a figure is written at the top of docs/figures.yaml. The hash in a result file (`evaluation.provenance`) is
compared with the hash of the shipped weights: a document that quotes older ones must say so beside them.
"""

import json
import re
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path

import pytest
import yaml

from instructseg.evaluation.provenance import hash_model, hash_weights

ROOT = Path(__file__).resolve().parents[1]
NANO = ROOT / "weights" / "nano"
STALE = re.compile(r"\bstale\b|older\s+weights", re.IGNORECASE)
DATED = {"docs/decisions.md", "docs/log.md"}  # entries of a log are of the weights of their day
DOCUMENTS = [ROOT / "README.md", NANO / "MODEL_CARD.md", *sorted((ROOT / "docs").glob("*.md"))]


def expand():
    """One entry for each item of `each`."""
    for entry in yaml.safe_load((ROOT / "docs" / "figures.yaml").read_text()):
        for item in entry.get("each", [""]):
            fill = lambda text, item=item: text.replace("$item", item)  # noqa: E731
            values = {name: fill(keys) for name, keys in entry["values"].items()}
            yield entry["in"], entry["from"], fill(entry["text"]), values


FIGURES = list(expand())


def look_up(content, keys):
    """The value at `keys`."""
    path, _, factor = keys.partition(" * ")
    for key in path.split(" > "):
        content = content[int(key)] if isinstance(content, list) else content[key]
    return content * int(factor) if factor else content


def render(content, text, values):
    """The text with its figures, rounded as Python rounds, and rounded half up as people round."""
    figures = {name: look_up(content, keys) for name, keys in values.items()}
    exact = {name: Decimal(str(value)) if isinstance(value, float) else value for name, value in figures.items()}
    with localcontext(rounding=ROUND_HALF_UP):
        return [text.format(**figures), text.format(**exact)]


def flatten(text):
    """Text with single spaces, so that line breaks do not matter."""
    return " ".join(text.split())


def paragraphs_with(document, snippet):
    """The paragraphs and tables of a document that contain the snippet."""
    blocks = map(flatten, re.split(r"\n\s*\n", (ROOT / document).read_text()))
    return [block for block in blocks if flatten(snippet) in block]


def recorded_hashes(content):
    """Hashes of nano's weights that a result file was measured with; none for results that need no weights."""
    content = content[0] if isinstance(content, list) else content
    model = content.get("model")
    found = [content.get("weights"), content.get("nano"), model.get("hash") if isinstance(model, dict) else None]
    return {value for value in found if value}


@pytest.fixture(scope="module")
def current():
    return {hash_weights(NANO), hash_model(NANO)}


@pytest.mark.parametrize(("document", "result", "text", "values"), FIGURES, ids=lambda value: str(value)[:40])
def test_figures_equal_their_result_files(document, result, text, values):
    content = json.loads((ROOT / result).read_text())
    try:
        expected = render(content, text, values)
    except (KeyError, IndexError, TypeError) as error:
        pytest.fail(f"{result} has no entry {error} of {values}; correct the keys in docs/figures.yaml")
    assert any(paragraphs_with(document, form) for form in expected), (
        f"{document} does not say {expected[0]!r}, as {result} does; correct the document or docs/figures.yaml"
    )


@pytest.mark.parametrize(("document", "result"), sorted({(where, source) for where, source, _, _ in FIGURES}))
def test_figures_of_older_weights_are_marked(document, result, current):
    """A figure's paragraph, or one that names its result file, says so where the hashes differ."""
    content = json.loads((ROOT / result).read_text())
    hashes = recorded_hashes(content)
    if not hashes or hashes & current or document in DATED:
        return
    for where, source, text, values in FIGURES:
        if (where, source) == (document, result):
            quoted = render(content, text, values)
            snippets = [*quoted, Path(result).name]
            beside = [paragraph for snippet in snippets for paragraph in paragraphs_with(document, snippet)]
            assert any(map(STALE.search, beside)), (
                f"{document} says {quoted[0]!r}, measured with the weights {', '.join(sorted(hashes))} ({result}), not "
                f"with the shipped {', '.join(sorted(current))}; measure again, or write 'older weights' beside it"
            )


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_result_file_that_a_document_names_is_compared(path):
    """A document that quotes a result file has an entry for it, and the file exists."""
    document = path.relative_to(ROOT).as_posix()
    named = set(re.findall(r"(?<![\w/])(?:docs/)?results/[\w/]+\.json\b", path.read_text()))
    results = {name if name.startswith("docs/") else f"docs/{name}" for name in named}
    assert [name for name in results if not (ROOT / name).is_file()] == []
    compared = {source for where, source, _, _ in FIGURES if where == document}
    missing = sorted(name for name in results - compared if "ablations" not in name)
    assert document in DATED or not missing, f"{document} names {missing}; add their figures to docs/figures.yaml"
