"""Results: made from records alone, with hashes, failures and the table; contact sheets."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import Photos, Shifted, clip, photo, question
from PIL import Image

from instructseg.errors import DataError
from instructseg.evaluation.benchmark_run import run_benchmark
from instructseg.evaluation.benchmarks import BENCHMARKS
from instructseg.evaluation.options import RunOptions
from instructseg.evaluation.provenance import hash_files
from instructseg.evaluation.records import read_lines
from instructseg.evaluation.results import gather, read_results, write_table
from instructseg.evaluation.sheets import choose_expressions

MODEL = {"name": "fake", "hash": "0123"}


def result_of(folder, samples=None, system=None, benchmark="templated/val", **settings):
    options = RunOptions(MODEL, **settings)
    list(run_benchmark(BENCHMARKS[benchmark], samples or Photos(5), system or Shifted(), folder, options))
    return read_results(folder)


def test_results_say_what_was_measured_and_with_what(tmp_path):
    result = result_of(tmp_path, limit=3, seed=2)
    assert (result["samples"], result["available"], result["limit"], result["seed"]) == (3, 5, 3, 2)
    assert result["scores"]["giou"] == pytest.approx(56 / 72)
    assert result["model"] == MODEL and result["versions"]["numpy"] == np.__version__
    assert result["wall_seconds"] > 0 and result["failures"] == []


def test_the_data_hash_is_of_the_data_alone(tmp_path):
    first = result_of(tmp_path / "a")["data_hash"]
    assert result_of(tmp_path / "b", system=Shifted(fails=["tiny/1"]))["data_hash"] == first
    moved = [photo(index + (index == 4)) for index in range(5)]
    assert result_of(tmp_path / "c", samples=moved)["data_hash"] != first


def test_failures_keep_the_scores_back_unless_allowed(tmp_path):
    system, samples = Shifted(fails=["tiny/3"]), Photos(5, broken=[1])
    kept_back = result_of(tmp_path / "a", samples, system)
    assert kept_back["scores"] is None
    assert [failure["index"] for failure in kept_back["failures"]] == [1, 3]
    allowed = result_of(tmp_path / "b", samples, system, allow_failures=True)
    assert allowed["scores"]["giou"] == pytest.approx(3 * 56 / 72 / 5)
    assert allowed["scores"]["n_acc"] == 0.75
    text = write_table(tmp_path, [{**kept_back, "benchmark": "x"}, allowed])
    assert "| x | giou | - | failed |" in text
    assert "templated/val: 2 of 5 samples failed: sample 1, tiny/3; counted as wrong." in text


def test_the_table_has_the_papers_figure_beside_ours(tmp_path):
    result_of(tmp_path / "pope" / "coco", [question(0)], benchmark="pope/coco")
    result_of(tmp_path / "templated" / "val")
    result_of(tmp_path / "mevis" / "valid", [clip(0, public=False, dataset="mevis")], benchmark="mevis/valid")
    text = write_table(tmp_path, gather(tmp_path, "fake"))
    assert "| pope/coco | f1 | 87.0 | 100.00 | 1 | 1 |" in text
    assert "| templated/val | giou | - | 77.78 | 5 | 10 |" in text
    assert "| mevis/valid | J&F | - | by the server | 1 | 1 |" in text
    assert (tmp_path / "results.md").read_text() == text
    assert gather(tmp_path, "another model") == []


def test_a_score_that_nothing_was_there_for_is_left_blank(tmp_path):
    result = result_of(tmp_path, [replace(photo(0), expressions=photo(0).expressions[:1])])
    assert "| templated/val | n_acc | - | - | 1 | 1 |" in write_table(tmp_path, [result])


def test_damaged_results_are_named(tmp_path):
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match=r"results.json cannot be read"):
        read_results(tmp_path)


def test_file_hash_follows_names_and_bytes(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(path.name)
    first = hash_files(paths, tmp_path)
    assert first == hash_files(paths[::-1], tmp_path)
    (tmp_path / "a").write_text("b")
    assert hash_files(paths, tmp_path) != first


def record(index, *scores):
    return {"index": index, "expressions": [{"id": str(at), "iou": score} for at, score in enumerate(scores)]}


def test_pictures_are_of_the_best_the_median_and_the_worst():
    records = [record(0, 0.5, 0.1), record(1, 0.9), record(2, 0.3), record(3, 0.6), {"index": 4, "error": "x"}]
    picks = choose_expressions(records, "iou", 1)
    assert [(one.index, one.expression, one.reason) for one in picks] == [
        (1, "0", "best 0.90"), (0, "0", "median 0.50"), (2, "0", "worst 0.30"),
    ]  # fmt: skip
    assert [one.index for one in choose_expressions([record(7)], "iou", 1)] == []


@pytest.mark.parametrize(
    ("benchmark", "samples", "shape"),
    [
        ("templated/val", Photos(9), (3, 4)),
        ("davis2016/val", [clip(index) for index in range(3)], (6, 4)),
        ("mevis/valid", [clip(index, public=False, dataset="mevis") for index in range(2)], (2, 4)),
        ("pope/coco", [question(index) for index in range(9)], (2, 4)),
    ],
)
def test_sheets_show_truth_and_answers(tmp_path, benchmark, samples, shape):
    result_of(tmp_path, samples, benchmark=benchmark)
    with Image.open(tmp_path / "sheet.jpg") as picture:
        rows, columns = shape
        assert picture.width == 10 + columns * 330
        assert picture.height // 250 == rows and picture.convert("L").getextrema()[0] < 50


def test_a_run_without_records_has_no_sheet(tmp_path):
    result_of(tmp_path, Photos(2, broken=[0, 1]))
    assert not (tmp_path / "sheet.jpg").exists()
    assert [line["expressions"] for line in read_lines(tmp_path / "samples.jsonl")] == [[], []]
