"""The figures that documents quote from result files, as docs/figures.yaml lists them.

    python -m tools.figures --since COMMIT

rewrites the documents after result files have changed: each figure as the files of COMMIT gave it becomes the figure
of the files as they are. Without changes in a file its figures stay. Prints the figures that it could not find.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import yaml

from benchmarks.harness import make_parser

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Figure:
    """A sentence or table row of `document` with the figures of `result`: the keys of each name in `text`."""

    document: str
    result: str
    text: str
    values: Mapping[str, str]

    def render(self, content: Any) -> list[str]:
        """The text with its figures, rounded as Python rounds, and rounded half up as people round.

        Raises KeyError, IndexError or TypeError if the result file has no such entry.
        """
        figures = {name: look_up(content, keys) for name, keys in self.values.items()}
        exact = {name: Decimal(str(value)) if isinstance(value, float) else value for name, value in figures.items()}
        with localcontext(rounding=ROUND_HALF_UP):
            return [self.text.format(**figures), self.text.format(**exact)]


def read_figures() -> Iterator[Figure]:
    """All figures, one for each item of `each`."""
    for entry in yaml.safe_load((ROOT / "docs" / "figures.yaml").read_text(encoding="utf-8")):
        for item in entry.get("each", [""]):
            values = {name: keys.replace("$item", item) for name, keys in entry["values"].items()}
            yield Figure(entry["in"], entry["from"], entry["text"].replace("$item", item), values)


def look_up(content: Any, keys: str) -> Any:
    """The value at `keys`, such as "scores > all * 100"."""
    path, _, factor = keys.partition(" * ")
    for key in path.split(" > "):
        content = content[int(key)] if isinstance(content, list) else content[key]
    return content * int(factor) if factor else content


def renew(text: str, before: list[str], after: str) -> str | None:
    """The text with the first of the old forms that it has replaced by the new one, or None.

    Line breaks may differ; those of the text are kept where the words between them stay.
    """
    for old in before:
        pattern = r"\s+".join(map(re.escape, old.split()))
        found = re.search(pattern, text)
        if found:
            breaks = re.findall(r"\s+", found.group())
            words = after.split()
            joined = "".join(word + gap for word, gap in zip(words, breaks, strict=False)) + words[-1]
            new = joined if len(words) == len(breaks) + 1 else after
            return text[: found.start()] + new + text[found.end() :]
    return None


def content_of(commit: str, result: str) -> Any:
    """A result file as it was, or None if there was none."""
    shown = subprocess.run(["git", "show", f"{commit}:{result}"], cwd=ROOT, capture_output=True, text=True)
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--since", required=True, help="the commit whose figures the documents quote")
    commit = parser.parse_args().since
    for figure in read_figures():
        old, new = content_of(commit, figure.result), json.loads((ROOT / figure.result).read_text(encoding="utf-8"))
        if old is None or old == new:
            continue
        document = ROOT / figure.document
        after = figure.render(new)[1]
        try:
            before = figure.render(old)
        except (KeyError, IndexError, TypeError):  # the file had other keys then
            before = []
        renewed = renew(document.read_text(encoding="utf-8"), before, after)
        if renewed is None:
            print(f"{figure.document}: expected {before[:1] or figure.text!r}, did not find it; now {after!r}")
        else:
            document.write_text(renewed, encoding="utf-8")


if __name__ == "__main__":
    main()
