"""Score the official answers of LLaVA-1.5-13B and of GPT-3 with this package and compare with the official figures.

    python -m benchmarks.scores.official_answers --data DATA

DATA holds EXPECTED_METRICS.json and llava_eval/ (question and answer files of POPE and ScienceQA). Exit code 1 when a
score differs from the official one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg.data.catalogue.questions import ENTRIES
from instructseg.metrics.answer_text import LETTERS
from instructseg.metrics.choices import ScienceQaScores
from instructseg.metrics.questions import PopeScores
from instructseg.types import Expression

MODULE = "benchmarks.scores.official_answers"
# LLaVA numbers the questions of each category from here on.
POPE_OFFSETS = {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}


def questions(root: Path, name: str, split: str) -> Iterator[Expression]:
    opener = next(entry.open for entry in ENTRIES if entry.name == name)
    for sample in opener(root, split):
        yield from sample.expressions


def score_pope(root: Path) -> dict[str, Any]:
    """Ratios with four digits, as the expected ones have."""
    lines = (root / "pope" / "answers" / "llava-v1.5-13b.jsonl").read_text(encoding="utf-8").splitlines()
    answers = {record["question_id"]: record["text"] for record in map(json.loads, lines)}
    scores = PopeScores()
    for expression in questions(root, "pope", "coco"):
        category, number = expression.id.split("/")
        scores.update(answers[POPE_OFFSETS[category] + int(number)], expression.answer, expression.details)
    values = scores.compute()
    by_category = {
        f"{category}/{name}": round(values[f"{category}/{name}"], 4)
        for category in POPE_OFFSETS
        for name in ("f1", "accuracy")
    }
    return (
        by_category
        | {"f1": round(values["f1"], 4)}
        | {f"{category}/counts": counts for category, counts in scores.counts.items()}
    )


def expected_pope(figures: dict[str, Any]) -> dict[str, Any]:
    f1 = {f"{name}/f1": value for name, value in figures["pope_f1"].items() if name in POPE_OFFSETS}
    accuracy = {f"{name}/accuracy": value for name, value in figures["pope_accuracy"].items()}
    counts = {f"{name}/counts": value for name, value in figures["pope_counts_TP_FP_TN_FN"].items()}
    return f1 | accuracy | counts | {"f1": figures["pope_f1"]["mean"]}


def score_science_qa(root: Path, file: str, kept_letters: bool) -> dict[str, Any]:
    """From the text, or from the letters that the official script kept (GPT-3's draws one where it reads none)."""
    results = json.loads((root / "scienceqa" / "answers" / file).read_text(encoding="utf-8"))
    scores = ScienceQaScores()
    for expression in questions(root, "science_qa", "test"):
        answer = LETTERS[results["results"][expression.id]] if kept_letters else results["outputs"][expression.id]
        scores.update(answer, expression.answer, expression.details)
    values = scores.compute()
    return {
        "accuracy": 100 * values["accuracy"],
        "image/accuracy": 100 * values["image/accuracy"],
        "count": values["count"],
        "image/count": len(scores.groups["image"]),
        "correct": int(sum(scores.groups[""])),
    }


def table(root: Path, expected: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of (system, benchmark, figure, expected, got, equal), for the figures that are expected."""
    llava, gpt3 = expected["llava_1.5_13b"], expected["scienceqa_gpt3_cot"]
    science = llava["scienceqa"]
    names = {"acc_all": "accuracy", "acc_img": "image/accuracy", "n": "count", "n_img": "image/count"}
    compared = [
        ("LLaVA-1.5-13B", "POPE", expected_pope(llava), score_pope(root)),
        (
            "LLaVA-1.5-13B", "ScienceQA test", {name: science[key] for key, name in names.items()},
            score_science_qa(root, "llava-v1.5-13b_result.json", kept_letters=False),
        ),
        (
            "GPT-3 (CoT)", "ScienceQA test, letters as kept by its script",
            {"accuracy": gpt3["acc"], "correct": gpt3["correct"], "count": gpt3["n"]},
            score_science_qa(root, "gpt3_final_test_QCM-ALE_2_seed_3.json", kept_letters=True),
        ),
    ]  # fmt: skip
    return [
        {
            "system": system,
            "benchmark": benchmark,
            "figure": figure,
            "expected": value,
            "got": got[figure],
            "equal": value == got[figure],
        }
        for system, benchmark, wanted, got in compared
        for figure, value in wanted.items()
    ]


def main() -> None:
    options = make_parser(__doc__, "official_answers.json", data=True).parse_args()
    expected = json.loads((options.data / "EXPECTED_METRICS.json").read_text(encoding="utf-8"))
    rows = table(options.data / "llava_eval", expected)
    ResultFile(options.output, provenance(MODULE, options)).add(rows=rows)
    for row in rows:
        mark = "" if row["equal"] else "  DIFFERS"
        scores = f"{row['expected']!s:>24} {row['got']!s:>24}{mark}"
        print(f"{row['system']:14} {row['benchmark'][:14]:14} {row['figure']:22} {scores}")
    if not all(row["equal"] for row in rows):
        sys.exit("some scores differ from the official ones")


if __name__ == "__main__":
    main()
