"""What a run amounts to: results.json of each benchmark, and one table of all beside the paper's figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.errors import DataError
from instructseg.evaluation.benchmarks import Benchmark
from instructseg.evaluation.provenance import hash_data, versions
from instructseg.evaluation.records import RecordFolder
from instructseg.evaluation.scoring.scorer import Measure
from instructseg.media.files import write_bytes

RESULTS = "results.json"
TABLE = "results.md"
NAMED = 20


def summarise(benchmark: Benchmark, measure: Measure, folder: Path, allow_failures: bool) -> dict[str, Any]:
    """Scores and facts from the records in `folder` alone; no scores when samples failed and that is not allowed.

    A failed sample counts as wrong: its expressions as answered wrongly, or one of them where it cannot even be read.
    """
    records, seconds = RecordFolder(folder).read()
    failures = [
        {"index": index, "id": record.get("id"), "error": record["error"]}
        for index, record in records.items()
        if "error" in record
    ]
    entries = [entry for record in records.values() for entry in record["expressions"] or [lost(measure, record)]]
    return {
        "benchmark": benchmark.name,
        "protocol": benchmark.protocol,
        "scores": measure.scores(entries) if allow_failures or not failures else None,
        "headline": list(benchmark.metrics),
        "paper_percent": dict(benchmark.paper),
        "paper_source": benchmark.source,
        "server": benchmark.server,
        "samples": len(records),
        "expressions": len(entries),
        "failures": failures,
        "data_hash": hash_data(records.values()),
        "versions": versions(),
        "seconds_of_work": round(sum(seconds.values()), 3),
    }


def lost(measure: Measure, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands for a sample that cannot be read."""
    return {**measure.lost, "id": f"sample {record['index']}"}


def write_results(folder: Path, result: Mapping[str, Any]) -> None:
    """DIR/<benchmark>/results.json."""
    write_bytes(folder / RESULTS, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())


def read_results(folder: Path) -> dict[str, Any]:
    """What `write_results` wrote. Raises DataError when it is not there or damaged."""
    try:
        return json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / RESULTS} cannot be read ({error}); run the benchmark again") from error


def gather(root: Path, model: str) -> list[dict[str, Any]]:
    """The results of one model's benchmarks below `root`, in the order of their names."""
    found = [read_results(path.parent) for path in sorted(root.glob(f"*/*/{RESULTS}"))]
    return [result for result in found if result["model"]["name"] == model]


def write_table(root: Path, results: Sequence[Mapping[str, Any]]) -> str:
    """DIR/results.json and DIR/results.md, of all benchmarks; returns the table."""
    write_bytes(root / RESULTS, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    text = markdown(results)
    write_bytes(root / TABLE, text.encode())
    return text


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """One row for each score in percent, the paper's figure beside ours, and how each benchmark is scored."""
    hashes = ", ".join(sorted({result["model"]["hash"] for result in results}))
    lines = [
        f"{results[0]['model']['name']} ({hashes}), scores in percent; the paper's are those of InstructSeg-3B.",
        "",
        "| benchmark | score | paper | ours | samples | expressions |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(row for result in results for row in _rows(result)),
        "",
        *(f"- {result['benchmark']}: {result['protocol']}." for result in results),
        *(line for result in results for line in _failed(result)),
    ]
    return "\n".join(lines) + "\n"


def _rows(result: Mapping[str, Any]) -> Iterable[str]:
    scores = result["scores"]
    for name in result["headline"]:
        paper = result["paper_percent"].get(name)
        ours = "failed" if scores is None else percent(scores.get(name), result["server"])
        size = f"{result['samples']:,}{' of ' + format(result['available'], ',') if result['limit'] else ''}"
        yield f"| {result['benchmark']} | {name} | {paper or '-'} | {ours} | {size} | {result['expressions']:,} |"


def percent(score: float | None, server: str) -> str:
    """A score for people; one that is not there comes from the server, or had nothing to be measured on."""
    if score is None:
        return "by the server" if server else "-"
    return f"{100 * score:.2f}"


def _failed(result: Mapping[str, Any]) -> Iterable[str]:
    if result["failures"]:
        yield f"- {failure(result)}; {'no scores' if result['scores'] is None else 'counted as wrong'}."


def failure(result: Mapping[str, Any]) -> str:
    """Which samples failed, in words."""
    failures = result["failures"]
    names = ", ".join(str(each["id"] or f"sample {each['index']}") for each in failures[:NAMED])
    more = f" and {len(failures) - NAMED} more" if len(failures) > NAMED else ""
    return f"{result['benchmark']}: {len(failures)} of {result['samples']:,} samples failed: {names}{more}"
