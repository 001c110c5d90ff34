"""Scores of questions: the official figures from the official answers, and hand-computed values."""

import copy
import itertools
import json
import random

import pytest

from instructseg.data.catalogue.questions import ENTRIES
from instructseg.errors import InputError
from instructseg.metrics.answer_text import (
    choice_letter,
    normalize_answer,
    science_letter,
    short_answer,
    yes_or_no,
)
from instructseg.metrics.choices import MmBenchScores, ScienceQaScores
from instructseg.metrics.questions import GqaScores, PopeScores, VqaScores

CATALOGUE = {entry.name: entry for entry in ENTRIES}
OFFSETS = {"adversarial": 0, "random": 10_000_000, "popular": 20_000_000}


@pytest.fixture(scope="module")
def llava(shared_data):
    return shared_data / "data" / "llava_eval"


@pytest.fixture(scope="module")
def expected(shared_data):
    return json.loads((shared_data / "data" / "EXPECTED_METRICS.json").read_text())


# ---- official answers, official figures


@pytest.fixture(scope="module")
def pope(llava):
    lines = (llava / "pope" / "answers" / "llava-v1.5-13b.jsonl").read_text().splitlines()
    answers = {record["question_id"]: record["text"] for record in map(json.loads, lines)}
    scores = PopeScores()
    for sample in CATALOGUE["pope"].open(llava, "coco"):
        for expression in sample.expressions:
            category, number = expression.id.split("/")
            scores.update(answers[OFFSETS[category] + int(number)], expression.answer, expression.details)
    return scores


def test_pope_of_llava(pope, expected):
    figures, scores = expected["llava_1.5_13b"], pope.compute()
    assert pope.counts == figures["pope_counts_TP_FP_TN_FN"]
    for category in OFFSETS:
        assert scores[f"{category}/f1"] == pytest.approx(figures["pope_f1"][category], abs=5e-5)
        assert scores[f"{category}/accuracy"] == pytest.approx(figures["pope_accuracy"][category], abs=5.1e-5)
    assert scores["f1"] == pytest.approx(figures["pope_f1"]["mean"], abs=5e-5)
    assert round(100 * scores["f1"], 1) == figures["pope_f1"]["published_mean"]
    assert scores["count"] == 8910


def test_science_qa_of_llava(llava, expected):
    figures = expected["llava_1.5_13b"]["scienceqa"]
    told = json.loads((llava / "scienceqa" / "answers" / "llava-v1.5-13b_result.json").read_text())
    collected = ScienceQaScores()
    for sample in CATALOGUE["science_qa"].open(llava, "test"):
        (expression,) = sample.expressions
        answer = told["outputs"][expression.id]
        letter = science_letter(answer, len(expression.details["choices"]))
        assert told["results"][expression.id] == (-1 if letter is None else "ABCDE".index(letter))
        collected.update(answer, expression.answer, expression.details)
    scores = collected.compute()
    assert scores["accuracy"] * 100 == pytest.approx(figures["acc_all"], abs=1e-9)
    assert scores["image/accuracy"] * 100 == pytest.approx(figures["acc_img"], abs=1e-9)
    assert scores["count"] == figures["n"] and len(collected.groups["image"]) == figures["n_img"]


def test_science_qa_of_gpt3(llava, expected):
    """Its own script draws a choice by lot where it reads none or two, so the letters that it kept are scored."""
    told = json.loads((llava / "scienceqa" / "answers" / "gpt3_final_test_QCM-ALE_2_seed_3.json").read_text())
    collected, differing = ScienceQaScores(), []
    for sample in CATALOGUE["science_qa"].open(llava, "test"):
        (expression,) = sample.expressions
        kept = "ABCDE"[told["results"][expression.id]]
        collected.update(kept, expression.answer, expression.details)
        read = science_letter(told["outputs"][expression.id], len(expression.details["choices"]))
        differing += [told["outputs"][expression.id]] if read not in (kept, None) else []
    assert collected.compute()["accuracy"] * 100 == pytest.approx(expected["scienceqa_gpt3_cot"]["acc"], abs=1e-9)
    assert [output.count("The answer is") for output in differing] == [2]
    assert sum(collected.groups[""]) == expected["scienceqa_gpt3_cot"]["correct"]


# ---- answers in words


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("A  Dog", "dog"),
        ("the\ntwo cats", "2 cats"),
        ("None", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("1,000", "1000"),
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("t-shirt", "t shirt"),
        ("t- shirt", "t shirt"),
        ("10:30 a.m.", "10:30 am"),
        ("3.5.", "3.5"),
        (".5", ".5"),
        ("dont", "don't"),
        ("Couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),
        ("ows'at", "ows'at"),
        ("'owsat", "'owsat"),
        ("'ow'sat", "'ow's'at"),
        ("oclock", "o'clock"),
        ("somebody'd", "somebodyd"),
        ("let's", "let's"),
        ("Im", "im"),
        ("an", ""),
        ("what?!", "what"),
        ("x" + "." * 40, "x" + "." * 8),
    ],
)
def test_normal_form(answer, normal):
    """By the rules of vqaEval.py, read by hand."""
    assert normalize_answer(answer) == normal


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("No", "no"),
        ("no, there is none", "no"),
        ("Yes. There is no dog.", "yes"),
        ("There is not a dog. Yes", "no"),
        ("NO", "yes"),
        ("nothing", "yes"),
        ("", "yes"),
        ("no!", "yes"),
        ("No\n", "yes"),
    ],
)
def test_yes_or_no_as_released(answer, word):
    assert yes_or_no(answer) == word


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        (" B ", "B"),
        ("B. the pear", "B"),
        ("B\nthe pear", "B"),
        ("B.", None),
        ("BC", None),
        ("b", None),
        ("So. The answer is B.", "B"),
        ("The answer is B, not A", "B"),
        ("The answer is A or The answer is B.", "B"),
        ("The answer is pear", None),
        ("C", None),
        ("The answer is C.", None),
        ("", None),
    ],
)
def test_science_letter(answer, letter):
    assert science_letter(answer, 2) == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(C)", "C"),
        ("A. red car", "A"),
        ("A red car is parked there", "A"),
        ("A pear tree stands in front", None),
        ("it is the Green car", "B"),
        ("red car or green car", None),
        ("A or B", None),
        ("D", None),
        ("the green car " * 5, None),
        ("", None),
    ],
)
def test_choice_letter(answer, letter):
    assert choice_letter(answer, ["red car", "green car", "bus"]) == letter


def test_short_answer():
    assert short_answer(" Yes.\n") == "yes" and short_answer("3.5..") == "3.5"


# ---- VQAv2


def slow_vqa_accuracy(prediction, answers):
    """min(1, matches / 3), averaged over every nine of the ten."""
    nines = list(itertools.combinations(answers, len(answers) - 1))
    return sum(min(1, nine.count(prediction) / 3) for nine in nines) / len(nines)


@pytest.mark.parametrize("matches", range(11))
def test_vqa_leaves_one_out(matches):
    answers = ["net"] * matches + ["fence"] * (10 - matches)
    value = VqaScores().update("Net.", "net", {"answers": answers})
    assert value == pytest.approx(slow_vqa_accuracy("net", answers))
    assert VqaScores().update("a wall", "net", {"answers": answers}) == 0
    assert VqaScores().update(None, "net", {"answers": answers}) == 0


def test_vqa_normalises_people_who_differ():
    mixed = ["2"] * 5 + ["two"] * 2 + ["two dogs"] * 3
    assert VqaScores().update("Two", "2", {"answers": mixed}) == pytest.approx(1)
    assert VqaScores().update("t-shirt", "t-shirt", {"answers": ["t-shirt"] * 10}) == 0
    assert VqaScores().update("t-shirt", "t-shirt", {"answers": ["t-shirt"] * 9 + ["tee"]}) == 1


def test_vqa_by_answer_type():
    scores = VqaScores()
    scores.update("yes", "yes", {"answers": ["yes"] * 10, "answer_type": "yes/no"})
    scores.update("3", "4", {"answers": ["4"] * 10, "answer_type": "number"})
    assert scores.compute() == {"accuracy": 0.5, "count": 2, "number/accuracy": 0, "yes-no/accuracy": 1}


# ---- GQA


def gqa(identity, entailed=(), structural="verify", **details):
    return {"id": identity, "entailed": list(entailed), "structural": structural, "semantic": "attr", **details}


def test_gqa_accuracy_and_consistency():
    scores = GqaScores()
    assert scores.update("Yes.", "yes", gqa("1", ["1", "2", "3"])) == 1
    assert scores.update("red", "red", gqa("2", ["3"], "query")) == 1
    assert scores.compute()["accuracy"] == 1 and "consistency" not in scores.compute()
    assert scores.update("no", "yes", gqa("3", ["1"], balanced=False)) == 0
    assert scores.compute() == {
        "accuracy": 1,
        "count": 2,
        "attr/accuracy": 1,
        "binary/accuracy": 1,
        "open/accuracy": 1,
        "query/accuracy": 1,
        "verify/accuracy": 1,
        "consistency": (1 / 2 + 0) / 2,
    }


def test_gqa_validity():
    scores = GqaScores()
    scores.update("tower", "man", gqa("1", valid=["tower", "man"], plausible=["man"]))
    scores.update("shape", "color", gqa("2", detailed="twoCommon", valid=["x"], plausible=["x"]))
    scores.update(None, "color", gqa("3", valid=["x"], plausible=["x"]))
    assert {name: value * 3 for name, value in scores.compute().items() if name in ("validity", "plausibility")} == {
        "validity": pytest.approx(2),
        "plausibility": pytest.approx(1),
    }


# ---- POPE, ScienceQA, MMBench


def test_pope_without_a_yes_or_an_answer():
    scores = PopeScores()
    assert [scores.update(None, label, {"category": "random"}) for label in ("yes", "no")] == [0, 0]
    assert scores.counts["random"] == [0, 1, 0, 1]
    only_no = PopeScores()
    only_no.update("no", "yes", {"category": "random"})
    values = only_no.compute()
    assert (values["f1"], values["precision"], values["recall"], values["yes_ratio"]) == (0, 0, 0, 0)


def test_science_qa_groups():
    scores = ScienceQaScores()
    facts = {"choices": ["a", "b"], "subject": "social science"}
    scores.update("A", "A", facts | {"image": True, "context": False, "grade": "grade6"})
    scores.update("A", "B", facts | {"image": False, "context": False, "grade": "grade7"})
    scores.update(None, "B", facts | {"image": False, "context": True, "grade": "grade12"})
    assert scores.compute() == {
        "accuracy": pytest.approx(1 / 3),
        "count": 3,
        "grades 1-6/accuracy": 1,
        "grades 7-12/accuracy": 0,
        "image/accuracy": 1,
        "no context/accuracy": 0,
        "social science/accuracy": pytest.approx(1 / 3),
        "text context/accuracy": 0,
    }


def mmbench(question, number, passes, category="ocr"):
    details = {"question": question, "pass": number, "passes": passes, "choices": ["red", "green"]}
    return details | {"category": category, "l2_category": "fine"}


def test_mmbench_counts_questions_with_every_pass_right():
    scores = MmBenchScores()
    answers = [
        (1, 0, "A", "A"),
        (1, 1, "B", "B"),
        (2, 0, "A", "A"),
        (2, 1, "A", "B"),
        (3, 0, "B", "A"),
        (3, 1, "A", "A"),
    ]
    values = [
        scores.update(said, right, mmbench(question, number, 2, "ocr" if question < 3 else "style"))
        for question, number, said, right in answers
    ]
    assert values == [1, 1, 1, 0, 0, 1]
    assert scores.compute() == {
        "accuracy": pytest.approx(1 / 3),
        "single_pass_accuracy": pytest.approx(2 / 3),
        "count": 3,
        "fine/accuracy": pytest.approx(1 / 3),
        "ocr/accuracy": 0.5,
        "style/accuracy": 0,
    }
    scores.update("A", "A", mmbench(4, 0, 2))
    assert scores.compute()["accuracy"] == 1 / 4  # its second pass never came


# ---- all alike


def random_answers(kind, count=60, seed=3):
    """(prediction, reference, details) such as the benchmarks give, some of them failed."""
    dice = random.Random(seed)
    for number in range(count):
        facts = {
            "answers": [dice.choice(["yes", "no", "2"]) for _ in range(10)],
            "answer_type": dice.choice(["yes/no", "other"]),
            "category": ["random", "popular"][number // 2 % 2],
            "subject": dice.choice(["x", "y"]),
            "choices": ["yes", "no"],
            "image": dice.random() < 0.5,
            "question": number // 2,
            "pass": number % 2,
            "passes": 2,
        }
        if kind is GqaScores:
            facts |= gqa(
                str(number), [str(number ^ 1)], dice.choice(["query", "verify"]), valid=["yes"], plausible=["no"]
            )
        letters = kind in (ScienceQaScores, MmBenchScores)
        said = dice.choice([None, *("AB" if letters else ("yes", "no"))])
        yield said, dice.choice("AB" if letters else ("yes", "no")), facts


@pytest.mark.parametrize("kind", [VqaScores, GqaScores, PopeScores, ScienceQaScores, MmBenchScores])
def test_scores_merge_and_reset(kind):
    whole, parts = kind(), [kind() for _ in range(3)]
    for number, answer in enumerate(random_answers(kind)):
        assert whole.update(*answer) == parts[number % 3].update(*answer)
    joined, backwards = kind(), kind()
    assert kind().compute() == {} and len(whole.compute()) > 3
    for part in parts:
        joined.merge(part)
    for part in reversed(parts):
        backwards.merge(part)
    untouched = copy.deepcopy(parts[0])
    joined.update(*next(random_answers(kind)))
    assert parts[0] == untouched  # merging copies
    joined.reset()
    assert joined == kind() and joined.compute() == {}
    assert backwards.compute() == whole.compute()


@pytest.mark.parametrize("kind", [VqaScores, GqaScores, ScienceQaScores, MmBenchScores])
def test_questions_without_public_answers(kind):
    with pytest.raises(InputError, match="got none"):
        kind().update("yes", None, mmbench(1, 0, 2))


def test_pope_needs_a_label():
    with pytest.raises(InputError, match="label yes or no, got None"):
        PopeScores().update("yes", None, {"category": "random"})
