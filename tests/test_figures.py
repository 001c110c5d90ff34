"""Figures in README, docs and model card equal the result files they name; docs/figures.yaml lists them.

How to add a figure is written at the top of docs/figures.yaml. The hash in a result file (`evaluation.provenance`) is
compared with the hash of the shipped weights: a document that quotes older ones must say so beside them.
"""

import json
import re
from pathlib import Path

import pytest

from instructseg.evaluation.provenance import hash_model, hash_weights
from tools.figures import ROOT, read_figures, renew

NANO = ROOT / "weights" / "nano"
STALE = re.compile(r"\bstale\b|older\s+weights", re.IGNORECASE)
DATED = {"docs/decisions.md", "docs/log.md"}  # entries of a log are of the weights of their day
DOCUMENTS = [ROOT / "README.md", NANO / "MODEL_CARD.md", *sorted((ROOT / "docs").glob("*.md"))]


FIGURES = list(read_figures())


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


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure.document}-{figure.text}"[:80])
def test_figures_equal_their_result_files(figure):
    content = json.loads((ROOT / figure.result).read_text())
    try:
        expected = figure.render(content)
    except (KeyError, IndexError, TypeError) as error:
        pytest.fail(f"{figure.result} has no entry {error} of {figure.values}; correct the keys in docs/figures.yaml")
    assert any(paragraphs_with(figure.document, form) for form in expected), (
        f"{figure.document} does not say {expected[0]!r}, as {figure.result} does; correct the document or "
        "docs/figures.yaml"
    )


def test_figures_are_renewed_in_place():
    text = "It takes 1.5 s for the\nfirst answer, 2 for both.\n"
    assert renew(text, ["takes 1.4 s", "takes 1.5 s for the first"], "takes 1.2 s for the first") == (
        "It takes 1.2 s for the\nfirst answer, 2 for both.\n"
    )
    assert renew(text, ["takes 1.4 s"], "takes 1.2 s") is None


@pytest.mark.parametrize(("document", "result"), sorted({(each.document, each.result) for each in FIGURES}))
def test_figures_of_older_weights_are_marked(document, result, current):
    """A figure's paragraph, or one that names its result file, says so where the hashes differ."""
    content = json.loads((ROOT / result).read_text())
    hashes = recorded_hashes(content)
    if not hashes or hashes & current or document in DATED:
        return
    for figure in FIGURES:
        if (figure.document, figure.result) == (document, result):
            quoted = figure.render(content)
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
    compared = {figure.result for figure in FIGURES if figure.document == document}
    missing = sorted(name for name in results - compared if "ablations" not in name)
    assert document in DATED or not missing, f"{document} names {missing}; add their figures to docs/figures.yaml"
