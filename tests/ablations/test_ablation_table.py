"""The table of an ablation against means and spreads computed by hand."""

import math
import subprocess
import sys

import painted_world
import pytest

from instructseg.ablations.agreement import ScoreCell, compare_order, verdict
from instructseg.ablations.definitions import AblationRow, AblationScale, AblationTable, ScoreColumn
from instructseg.ablations.report import cells, read_results, write_report
from instructseg.ablations.results import TableResults, of_row
from instructseg.errors import DataError

TABLE = AblationTable(
    "Table 0: one module",
    AblationScale("nano.yaml"),
    AblationScale("paper.yaml"),
    (ScoreColumn("RefCOCO", "photos cIoU", "refcoco/val: ciou"), ScoreColumn("motion", "motion J&F", printed=False)),
    (
        AblationRow("without it", {"It": False}, (80.0,)),
        AblationRow("with", {"It": True}, (81.5,)),
        AblationRow("more", {"It": 2}, (83.0,)),
    ),
    note="A note.",
)


def finish(output, row, seed, photos, motion=0.5, **other):
    scores = {"photos cIoU": photos} | ({} if motion is None else {"motion J&F": motion})
    result = {"scores": scores, "steps": 10, "scale": "nano", "start": "parts", "recipe": {}} | other
    TableResults(output, "table0").append(row, seed, result)


@pytest.fixture
def output(tmp_path):
    """without it: 20, 22, 24, mean 22, deviation 2; with: 30, 31, 35, mean 32, deviation sqrt(7); more: 31 once."""
    for seed, (first, second) in enumerate(((0.20, 0.30), (0.22, 0.31), (0.24, 0.35))):
        finish(tmp_path, "without it", seed, first)
        finish(tmp_path, "with", seed, second, 0.25)
    finish(tmp_path, "more", 0, 0.31)
    return tmp_path


def test_means_and_spreads(output):
    text = write_report("table0", TABLE, output).read_text()
    lines = text.splitlines()
    assert lines[0] == "# Table 0: one module" and lines[2].startswith("7 finished runs at nano scale, 10 steps each.")
    assert lines[4:9] == [
        "| It | RefCOCO | motion | seeds |",
        "| --- | ---: | ---: | ---: |",
        "|  | 22.0 ± 2.0 (80.0) | 50.0 ± 0.0 | 3 |",
        "| ✓ | 32.0 ± 2.6 (81.5) | 25.0 ± 0.0 | 3 |",
        "| 2 | 31.0 (83.0) | 50.0 | 1 |",
    ]
    assert "- RefCOCO: measured here as photos cIoU." in lines and lines[-1] == "A note."
    results = read_results("table0", TABLE, output)
    assert list(results["without it"]) == [0, 1, 2]
    table = cells(TABLE, results)
    cell = table["with"]["RefCOCO"]
    assert cell.paper == 81.5 and cell.values == pytest.approx([30, 31, 35])
    assert cell.mean == pytest.approx(32) and cell.spread == pytest.approx(math.sqrt(7))
    assert table["more"]["motion"].spread is None and table["more"]["motion"].paper is None


def test_a_table_with_nothing_finished(tmp_path):
    text = write_report("table0", TABLE, tmp_path).read_text()
    assert "0 finished runs" in text and "|  | - (80.0) | - | 0 |" in text


def test_runs_of_different_lengths_are_not_compared(output):
    finish(output, "more", 1, 0.3, steps=20)
    with pytest.raises(DataError, match="are not comparable: 10 steps at nano scale from parts, 20 steps at nano sc"):
        write_report("table0", TABLE, output)


def test_runs_from_different_weights_are_not_compared(output):
    finish(output, "more", 1, 0.3, start="others")
    with pytest.raises(
        DataError, match=r"table0\.jsonl are not comparable: 10 .* from others, 10 .* from parts; use one"
    ):
        write_report("table0", TABLE, output)


def test_a_score_that_could_not_be_measured(output):
    """No expression of a kind among those asked: the other runs' mean stands, the row without any has none."""
    finish(output, "more", 0, 0.31, motion=None)
    assert "| 2 | 31.0 (83.0) | - | 1 |" in write_report("table0", TABLE, output).read_text()


def test_rows_whose_names_begin_alike(output):
    finish(output, "with-1", 0, 0.9)
    finish(output, "with 2", 0, 0.9)
    results = TableResults(output, "table0").read()
    assert list(of_row(results, "with")) == [0, 1, 2] and list(of_row(results, "with 2")) == [0]


def test_results_are_read_as_they_were_written(tmp_path):
    results = TableResults(tmp_path / "new", "table0")
    assert results.read() == {} and results.find("a b", 0) is None
    results.append("a b", 0, {"scores": {"x": 0.1}})
    results.append("a b", 1, {"scores": {"x": 0.2}})
    results.append("a b", 0, {"scores": {"x": 0.3}})
    assert results.read() == {("a b", 0): {"scores": {"x": 0.3}}, ("a b", 1): {"scores": {"x": 0.2}}}
    assert len(results.path.read_text().splitlines()) == 3


def test_a_line_that_a_kill_cut_off_is_written_again(output):
    results = TableResults(output, "table0")
    before = results.read()
    text = results.path.read_text()
    results.path.write_text(text[: len(text) // 2])
    remaining = results.read()
    assert 0 < len(remaining) < len(before) and all(before[run] == result for run, result in remaining.items())
    for (row, seed), result in before.items():
        if (row, seed) not in remaining:
            results.append(row, seed, result)
    assert results.read() == before and results.path.read_text() == text


WRITER = """
import sys
from pathlib import Path
from instructseg.ablations.results import TableResults
for seed in range(20):
    TableResults(Path(sys.argv[1]), "table0").append(sys.argv[2], seed, {"scores": "x" * 20000})
"""


@pytest.mark.long
def test_several_processes_append_to_one_file(tmp_path):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, row], env=painted_world.environment()) for row in ("a", "b")]
    assert [writer.wait(200) for writer in writers] == [0, 0]
    assert set(TableResults(tmp_path, "table0").read()) == {(row, seed) for row in "ab" for seed in range(20)}


def test_a_damaged_result(output):
    path = TableResults(output, "table0").path
    path.write_text("{\n" + path.read_text())
    with pytest.raises(DataError, match=r"table0\.jsonl, line 1 is damaged .* delete the line"):
        write_report("table0", TABLE, output)


def rows(*cells):
    return {name: ScoreCell(values, paper) for name, values, paper in cells}


def test_pairs_of_rows_against_the_paper():
    """b - a = 10, standard error sqrt(4/3 + 4/3) = 1.63: beyond 2 of them. c - b = -1, error 1.63: not. c - a = 9."""
    order = compare_order(rows(("a", (20, 22, 24), 50.0), ("b", (30, 32, 34), 51.0), ("c", (29, 31, 33), 53.0)))
    assert (order.agree, order.disagree, order.agree_significantly, order.disagree_significantly) == (2, 1, 2, 0)
    pairs = {(pair.worse, pair.better): (pair.ours, pair.error, pair.paper) for pair in order.differences}
    assert pairs["a", "b"] == pytest.approx((10, math.sqrt(8 / 3), 1)) and pairs["b", "c"][0] == -1
    assert pairs["a", "c"] == pytest.approx((9, math.sqrt(8 / 3), 3))


def test_what_is_said_of_the_order():
    a, b, c = ("a", (20, 22, 24), 50.0), ("b", (30, 32, 34), 51.0), ("c", (29, 31, 33), 53.0)
    assert verdict("X", rows(a, b, c)) == (
        "X: the paper's order does not appear; 2 of 3 pairs of rows are ordered as in the paper (2 by more than 2 "
        "standard errors), 1 are not (0 so); largest step of the paper, a -> c: +3.0 there, +9.0 ± 1.6 here."
    )
    assert verdict("X", rows(a, b)).startswith("X: the paper's order appears; 1 of 1 pairs")
    backwards = rows(("a", (30, 32, 34), 50.0), ("b", (20, 22, 24), 51.0))
    assert "0 of 1 pairs of rows are ordered as in the paper (0 by more than 2 standard errors), 1 are not (1 so)" in (
        verdict("X", backwards)
    )


def test_no_verdict_beyond_what_was_measured():
    single = rows(("a", (20.0,), 50.0), ("b", (30.0,), 51.0))
    assert verdict("X", single).endswith(
        "1 of 1 pairs of rows are ordered as in the paper; too few seeds for a spread."
    )
    assert verdict("X", rows(("a", (20.0,), 50.0), ("b", (), 51.0))) == "X: nothing to compare yet."
    assert compare_order(rows(("a", (20, 21), 50.0), ("b", (22, 23), 50.0))).differences == (), "equal in the paper"
    assert compare_order(rows(("a", (20, 21), 50.0), ("b", (22, 23), None))).differences == (), "no figure of the paper"
