"""The table: names, figures against the paper's text, datasets and splits against the catalogue."""

import re

import pytest

from instructseg.data.catalogue.registry import CATALOGUE
from instructseg.errors import InputError
from instructseg.evaluation.benchmarks import BENCHMARKS, COMPOSED, choose_benchmarks
from instructseg.evaluation.scoring import SCORERS
from instructseg.evaluation.scoring.question_scorer import QUESTION_SCORERS
from instructseg.evaluation.submission import ZIP_FOLDERS
from instructseg.synthesis.validation_clips import CLIP_KINDS

ROWS = {  # the paper's rows of InstructSeg, as its text has them
    "Table 2": "858 86.6 84.0 | 80.1 838 75.6 79.3 80.3 61.9 652",
    "Table 3": "49.2 547 519 | 548 592 57.0 | 520 569 545",
    "Table 4": "65.4 69.5 67.5 673 749 711",
    "Table 5": "790 | 68.6 | 623 | 87.0 | 69.2",
}
ORDER = {
    "Table 2": [
        *(f"{name}/{split} ciou" for name in ("refcoco", "refcoco+") for split in ("val", "testA", "testB")),
        "refcocog/val ciou", "refcocog/test ciou", "reason_seg/val giou", "reason_seg/val ciou",
    ],
    "Table 3": [
        f"revos/valid {part}/{score}" for part in ("reasoning", "referring", "overall") for score in ("J", "F", "J&F")
    ],
    "Table 4": [f"{name}/valid {score}" for name in ("ref_youtube_vos", "ref_davis") for score in ("J", "F", "J&F")],
    "Table 5": [
        "vqav2/test-dev accuracy", "mmbench/dev accuracy", "gqa/testdev_balanced accuracy", "pope/coco f1",
        "science_qa/test accuracy",
    ],
}  # fmt: skip


@pytest.mark.parametrize("table", ROWS)
def test_figures_are_the_papers(table):
    """Digits only: the text at hand has lost some decimal points."""
    printed = re.findall(r"[\d.]+", ROWS[table])
    rows = [key.split(" ") for key in ORDER[table]]
    ours = [BENCHMARKS[name].paper[score] for name, score in rows]
    assert [f"{figure:.1f}".replace(".", "") for figure in ours] == [figure.replace(".", "") for figure in printed]
    assert all(BENCHMARKS[name].source == table for name, _ in rows)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_rows_name_what_exists(name):
    row = BENCHMARKS[name]
    assert row.name == name and row.scorer in SCORERS and row.protocol and row.metrics
    assert set(row.paper) <= set(row.metrics)
    assert row.server in ("", "vqav2", *ZIP_FOLDERS)
    if row.dataset not in COMPOSED:
        assert row.split in CATALOGUE[row.dataset].counts
    assert (row.scorer in QUESTION_SCORERS) == (row.dataset in QUESTION_SCORERS)


def test_both_res_protocols_are_rows_of_their_own():
    alone, joined = BENCHMARKS["refcoco/val"], BENCHMARKS["refcoco-joined/val"]
    assert joined.options == {"joined": True, "released_masks": True} and not alone.options
    assert alone.protocol != joined.protocol


def test_a_wrong_name_gets_a_hint_and_a_repeated_one_counts_once():
    with pytest.raises(InputError, match="did you mean refcoco/val"):
        choose_benchmarks(["refcoco/vall"])
    assert [row.name for row in choose_benchmarks(["revos/valid", "refcoco/val", "revos/valid"])] == [
        "revos/valid",
        "refcoco/val",
    ]


def test_composed_clips_have_a_row_for_each_kind():
    kinds = [name.removesuffix("/J&F") for name in BENCHMARKS["composed_clips/val"].metrics if "/" in name]
    assert kinds == list(CLIP_KINDS)
