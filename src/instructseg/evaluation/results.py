"""results.json of each benchmark, and one Markdown table of all of them beside the paper's scores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.errors import DataError
from instructseg.evaluation.benchmarks import Benchmark
from instructseg.evaluation.provenance import hash_data, versions
from instructseg.evaluation.records import Record, RecordFolder
from instructseg.evaluation.scoring.scorer import ExpressionRecord, Scorer
from instructseg.media.files import write_bytes

RESULTS = "results.json"
TABLE = "results.md"
MAX_NAMED = 20
"""Maximum number of failed samples named in a message."""


def summarize(benchmark: Benchmark, scorer: Scorer[Any], folder: Path, allow_failures: bool) -> dict[str, Any]:
    """Scores and facts from the records in `folder` alone; no scores if samples failed and `allow_failures` is False.

    All expressions of a failed sample count as wrong; a sample that cannot be read counts as one expression.
    """
    records, seconds = RecordFolder(folder).read()
    failures = [
        {"index": index, "id": record.get("id"), "error": record["error"]}
        for index, record in records.items()
        if "error" in record
    ]
    expressions = [
        expression
        for record in records.values()
        for expression in record["expressions"] or [unreadable_expression(scorer, record)]
    ]
    return {
        "benchmark": benchmark.name,
        "protocol": benchmark.protocol,
        "scores": scorer.compute(expressions) if allow_failures or not failures else None,
        "headline": list(benchmark.metrics),
        "paper_percent": dict(benchmark.paper),
        "paper_source": benchmark.source,
        "server": benchmark.server,
        "samples": len(records),
        "expressions": len(expressions),
        "failures": failures,
        "data_hash": hash_data(records.values()),
        "versions": versions(),
        "seconds_of_work": round(sum(seconds.values()), 3),
    }


def unreadable_expression(scorer: Scorer[Any], record: Record) -> ExpressionRecord:
    """The record that stands for a sample that cannot be read."""
    return {**scorer.unreadable, "id": f"sample {record['index']}"}


def write_results(folder: Path, result: Mapping[str, Any]) -> None:
    """Write DIR/<benchmark>/results.json."""
    write_bytes(folder / RESULTS, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())


def read_results(folder: Path) -> dict[str, Any]:
    """The results that `write_results` wrote. Raises DataError if they are missing or damaged."""
    try:
        return json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{folder / RESULTS} cannot be read ({error}); run the benchmark again") from error


def gather(root: Path, model: str) -> list[dict[str, Any]]:
    """The results of one model's benchmarks below `root`, in the order of their names."""
    results = [read_results(path.parent) for path in sorted(root.glob(f"*/*/{RESULTS}"))]
    return [result for result in results if result["model"]["name"] == model]


def write_table(root: Path, results: Sequence[Mapping[str, Any]]) -> str:
    """Write DIR/results.json and DIR/results.md for all benchmarks; returns the Markdown table."""
    write_bytes(root / RESULTS, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    text = markdown(results)
    write_bytes(root / TABLE, text.encode())
    return text


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """A table with one row per score in percent, beside the paper's, and the protocol of each benchmark."""
    hashes = ", ".join(sorted({result["model"]["hash"] for result in results}))
    lines = [
        f"{results[0]['model']['name']} ({hashes}), scores in percent; the paper's are those of InstructSeg-3B.",
        "",
        "| benchmark | score | paper | ours | samples | expressions |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *(row for result in results for row in _table_rows(result)),
        "",
        *(f"- {result['benchmark']}: {result['protocol']}." for result in results),
        *(line for result in results for line in _failure_lines(result)),
    ]
    return "\n".join(lines) + "\n"


def _table_rows(result: Mapping[str, Any]) -> Iterable[str]:
    scores = result["scores"]
    for name in result["headline"]:
        paper = result["paper_percent"].get(name)
        ours = "failed" if scores is None else percent(scores.get(name), result["server"])
        size = f"{result['samples']:,}{' of ' + format(result['available'], ',') if result['limit'] else ''}"
        yield f"| {result['benchmark']} | {name} | {paper or '-'} | {ours} | {size} | {result['expressions']:,} |"


def percent(score: float | None, server: str) -> str:
    """A score in percent; None means that the benchmark's server computes it or that there were no expressions."""
    if score is None:
        return "by the server" if server else "-"
    return f"{100 * score:.2f}"


def _failure_lines(result: Mapping[str, Any]) -> Iterable[str]:
    if result["failures"]:
        outcome = "no scores" if result["scores"] is None else "counted as wrong"
        yield f"- {describe_failures(result)}; {outcome}."


def describe_failures(result: Mapping[str, Any]) -> str:
    """How many samples failed, and which."""
    failures = result["failures"]
    names = ", ".join(str(failure["id"] or f"sample {failure['index']}") for failure in failures[:MAX_NAMED])
    more = f" and {len(failures) - MAX_NAMED} more" if len(failures) > MAX_NAMED else ""
    return f"{result['benchmark']}: {len(failures)} of {result['samples']:,} samples failed: {names}{more}"
