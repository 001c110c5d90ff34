"""`instructseg bench report`: tables and plots from result files, also between the markers of a document."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from instructseg.bench.targets import TARGETS, ResultFiles
from instructseg.errors import InputError
from instructseg.media.files import write_bytes

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
STATED = {"command", "commit", "machine", "processor", "usable_cpus", "busy", "versions", "kind", "scale", "model",
          "seed", "weights", "parameters", "device", "dtype", "threads"}  # fmt: skip
"""The facts of a file, which stand above its tables."""


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Every bench_*.json of a folder, by its name without bench_ and .json. Raises InputError for a damaged file."""
    results = {}
    for path in sorted(folder.glob("bench_*.json")):
        try:
            results[path.stem.removeprefix("bench_")] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"expected a result file of `instructseg bench` in {path}, got {error}") from error
    return results


def write_report(folder: Path, document: Path | None = None) -> list[Path]:
    """Write report.md and the plots beside the result files.

    With `document`, also the targets, the plots and a link to report.md between its markers.

    Raises InputError for a folder that does not exist, and for a document without the markers.
    """
    if not folder.is_dir():
        raise InputError(f"expected a folder of result files, got {folder}; run `instructseg bench photo -o {folder}`")
    from instructseg.bench.plots import write_plots

    results = read_results(folder)
    text = markdown(results)
    plots = write_plots(results, folder)
    pictures = "".join(f"\n![{path.stem}]({path.name})\n" for path in plots)
    write_bytes(folder / "report.md", f"# Speed\n\n{text}{pictures}".encode())
    if document is not None:
        beside = os.path.relpath(folder, document.parent).replace(os.sep, "/")
        shown = "\n".join(f"![{path.stem}]({beside}/{path.name})\n" for path in plots)
        insert(document, f"{target_table(results)}\n{shown}\nAll figures: [{beside}/report.md]({beside}/report.md)\n")
    return [folder / "report.md", *plots, *([document] if document else [])]


def insert(document: Path, text: str) -> None:
    """Replace what stands between the markers of a document."""
    content = document.read_text(encoding="utf-8") if document.is_file() else ""
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"expected the lines {BEGIN} and {END} in {document}, got none; add them where tables belong")
    write_bytes(document, f"{before}{BEGIN}\n\n{text}\n{END}{after}".encode())


def markdown(results: ResultFiles) -> str:
    """The targets, then a section for each result file."""
    parts = [target_table(results)]
    for name, content in results.items():
        parts.append(f"### `{content.get('command', name)}`\n\n{stated(content)}\n\n{tables(content)}")
    return "\n".join(parts)


def target_table(results: ResultFiles) -> str:
    rows = []
    for target in TARGETS:
        value = target.reached(results)
        reached = "not measured" if value is None else f"{value:.3g} {target.unit}".rstrip()
        rows.append(
            (target.what, target.wanted, reached, "" if value is None else "yes" if target.met(value) else "no")
        )
    return table(("target", "wanted", "reached", "met"), rows)


def stated(content: Mapping[str, Any]) -> str:
    """The facts of a file in a sentence."""
    versions = content.get("versions", {})
    facts = [content.get("processor"), content.get("machine"), f"torch {versions.get('torch', 'unknown')}"]
    facts += [f"{name} {content[name]}" for name in ("model", "dtype", "device", "weights", "seed") if name in content]
    if content.get("busy") is not None:
        facts.append(f"{content['busy']} processes at the start")
    return ", ".join(str(fact) for fact in facts if fact) + "."


def tables(content: Mapping[str, Any]) -> str:
    """One table of all figures: their section and name, the median, the lowest and the highest."""
    rows = []
    for path, value in figures({key: item for key, item in content.items() if key not in STATED}):
        if isinstance(value, Mapping):
            rows.append((path, *(number(value[key]) for key in ("median", "lowest", "highest"))))
        else:
            rows.append((path, number(value), "", ""))
    return table(("", "median", "lowest", "highest"), rows)


def figures(value: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    """The spreads and single values of a file, with their place."""
    for key, item in value.items():
        place = f"{path}: {key}" if path else key
        if isinstance(item, Mapping) and "median" not in item:
            yield from figures(item, place)
        elif not isinstance(item, list):
            yield place, item


def number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
