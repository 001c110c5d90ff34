"""Each scorer: records of a sample, and scores from records equal to the metric classes fed with the masks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import HEIGHT, WIDTH, Shifted, block, clip, photo, question

from instructseg.errors import InputError
from instructseg.evaluation.predictor import MaskPrediction
from instructseg.evaluation.scoring import SCORERS
from instructseg.metrics import (
    AnnotatorScores,
    ClipScores,
    ExpressionScores,
    PopeScores,
    ReVosScores,
    match_proposals,
)
from instructseg.types import Expression, Sample, Task


def records_of(name, samples, system, more=None):
    """Entries of all samples after a trip through JSON, as records make it."""
    scorer = SCORERS[name]
    made = [scorer.score_sample(sample, getattr(system, scorer.method)(sample), more) for sample in samples]
    return json.loads(json.dumps([record for records in made for record in records]))


def test_regions_score_like_the_metric_itself():
    samples, direct = [photo(index) for index in range(6)], ExpressionScores()
    for sample in samples:
        for expression, answer in zip(sample.expressions, Shifted().segment_image(sample), strict=True):
            direct.update(expression.kind, answer.masks[0], expression.mask)
    scores = SCORERS["region"].compute(records_of("region", samples, Shifted()))
    table = direct.compute()
    assert scores["giou"] == table["all"]["miou"] and scores["ciou"] == table["all"]["ciou"]
    assert scores["p@0.7"] == table["thing"]["p@0.7"] == 1.0
    assert (scores["n_acc"], scores["n_count"], scores["count"]) == (1.0, 6, 6)


def test_ignored_pixels_count_neither_way_unless_released():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    expression = Expression("it", block(0, 0), ignore=block(0, 8))
    sample = Sample("s", Task.REASON_SEG, (image,), (expression,))
    answers = [MaskPrediction([block(0, 0, 8, 16)])]
    (repaired,), (released,) = (
        SCORERS[name].score_sample(sample, answers, None) for name in ("region", "released_region")
    )
    assert (repaired["intersection"], repaired["union"], repaired["iou"]) == (64, 64, 1.0)
    assert (released["intersection"], released["union"]) == (64, 128)
    assert released["iou"] == 64 / (128 + 1e-5)


def test_scores_that_are_no_numbers_are_refused():
    answers = [MaskPrediction([None], [float("nan")]), MaskPrediction([None])]
    with pytest.raises(InputError, match="finite"):
        SCORERS["region"].score_sample(photo(0), answers, None)


def test_failures_count_as_wrong_with_and_without_a_target():
    scorer = SCORERS["region"]
    records = scorer.score_sample(photo(0), None, None)
    assert [record.get("iou") for record in records] == [0.0, None]
    scores = scorer.compute([*records, scorer.unreadable])
    assert (scores["giou"], scores["ciou"], scores["n_acc"], scores["count"]) == (0.0, 0.0, 0.0, 2)


def test_clips_score_like_the_metric_itself():
    samples, direct = [clip(index) for index in range(3)], ClipScores()
    for sample in samples:
        direct.update("referring", Shifted().segment_clip(sample)[0].masks, sample.expressions[0].masks)
    records = records_of("clip", samples, Shifted())
    scores = SCORERS["clip"].compute(records)
    assert {name: scores[name] for name in ("J&F", "J", "F", "count")} == direct.compute()["all"]
    assert records[0]["frames"] == 3 and records[0]["score"] == 0.5
    assert SCORERS["clip"].score_sample(samples[0], None, None)[0]["J&F"] == 0.0


def test_a_clip_without_public_truth_has_no_scores():
    records = records_of("clip", [clip(0, public=False)], Shifted())
    assert "J" not in records[0] and SCORERS["clip"].compute(records) == {}


def test_masks_are_brought_to_the_size_of_a_larger_truth():
    sample = clip(0)
    doubled = [None if mask is None else mask.repeat(2, 0).repeat(2, 1) for mask in sample.expressions[0].masks]
    sample = replace(sample, expressions=(replace(sample.expressions[0], masks=doubled),))
    answer = MaskPrediction([block(4, 4), None, block(4, 8)])
    (record,) = SCORERS["clip"].score_sample(sample, [answer], None)
    assert record["J"] > 0.97
    (exact,) = SCORERS["clip"].score_sample(sample, [MaskPrediction(doubled)], None)
    assert exact["J&F"] == 1.0
    with pytest.raises(InputError, match="frames' size"):
        SCORERS["clip"].score_sample(sample, [MaskPrediction([np.zeros((3, 3), bool)] * 3)], None)
    with pytest.raises(InputError, match=r"expected 3 masks.*got 2"):
        SCORERS["clip"].score_sample(sample, [MaskPrediction([None, None])], None)


def test_revos_has_robustness_and_the_mean_of_its_two_parts():
    referring = clip(0)
    expression = replace(referring.expressions[0], kind="reasoning")
    reasoning = replace(referring, task=Task.REASON_VOS, expressions=(expression,))
    foreground = [block(4, 4, 8, 16)] * 3
    direct = ReVosScores()
    for sample, kind in ((referring, "referring"), (reasoning, "reasoning")):
        direct.update(kind, Shifted().segment_clip(sample)[0].masks, sample.expressions[0].masks, foreground)
    records = records_of("revos", [referring, reasoning], Shifted(), foreground)
    scorer, table = SCORERS["revos"], direct.compute()
    scores = scorer.compute(records)
    assert scores["overall/R"] == table["overall"]["R"] < 1
    assert scores["reasoning/J&F"] == table["reasoning"]["J&F"]
    without = scorer.compute([*records_of("revos", [referring, reasoning], Shifted()), scorer.unreadable])
    assert "overall/R" not in without and without["overall/A"] == pytest.approx(scores["overall/A"] / 2)
    halved = scorer.compute([*records, scorer.unreadable])
    assert halved["referring/J"] == pytest.approx(scores["referring/J"] / 2)
    assert halved["overall/F"] == pytest.approx(scores["overall/F"] / 2)


def davis(labels):
    """Two objects and two annotators of a clip, and label maps with void."""
    frames = tuple(np.zeros((HEIGHT, WIDTH, 3), np.uint8) for _ in labels)
    expressions = tuple(
        Expression(
            f"object {number} by {annotator}", None, "first_frame", f"{number}{annotator}",
            masks=[label == number for label in labels], details={"annotator": annotator, "objects": [str(number)]},
        )
        for number in (1, 2)
        for annotator in (0, 1)
    )  # fmt: skip
    return Sample("ref_davis/clip", Task.RVOS, frames, expressions)


@pytest.fixture
def labels():
    maps = []
    for at in range(3):
        label = np.zeros((HEIGHT, WIDTH), np.uint8)
        label[block(2, 2 + at)], label[block(2, 16 + at)], label[block(14, 2)] = 1, 2, 255
        maps.append(label)
    return maps


def test_ref_davis_matches_within_an_annotator_and_leaves_void_out(labels):
    """Annotator 0 gets the objects exchanged, with void painted: all right. Annotator 1 gets one object only."""
    sample = davis(labels)
    exact = {number: [(label == number) | (label == 255) for label in labels] for number in (1, 2)}
    nothing = [None] * 3
    answers = [MaskPrediction(exact[2]), MaskPrediction(exact[1]), MaskPrediction(exact[1]), MaskPrediction(nothing)]
    scorer = SCORERS["ref_davis"]
    records = json.loads(json.dumps(scorer.score_sample(sample, answers, labels)))
    score = {record["id"]: record["J&F"] for record in records}
    assert score["10"] == score["20"] == score["11"] == 1.0
    assert score["21"] == 0.0
    scores = scorer.compute(records)
    assert (scores["0/J"], scores["1/J"], scores["J&F"]) == (1.0, 0.5, 0.75)


def test_ref_davis_gives_a_pixel_to_the_surer_answer(labels):
    sample = davis(labels)
    both = [(label == 1) | (label == 2) for label in labels]
    second = [label == 2 for label in labels]
    answers = [
        MaskPrediction(both, [0.9] * 3),
        MaskPrediction(both),
        MaskPrediction(second, [0.1] * 3),
        MaskPrediction(second),
    ]
    records = SCORERS["ref_davis"].score_sample(sample, answers, labels)
    # annotator 0: the first answer takes all; annotator 1 without scores: the later object wins
    assert [record["J&F"] == 1.0 for record in records] == [False, True, False, True]


def test_ref_davis_equals_the_metric_on_random_masks(labels):
    rng = np.random.default_rng(0)
    sample = davis(labels)
    given = [[rng.random((HEIGHT, WIDTH)) < 0.3 for _ in labels] for _ in range(4)]
    records = SCORERS["ref_davis"].score_sample(sample, [MaskPrediction(masks) for masks in given], labels)
    direct = AnnotatorScores()
    for annotator in (0, 1):
        first, second = given[annotator], given[2 + annotator]
        proposals = [np.stack([one & ~other, other]) for one, other in zip(first, second, strict=True)]
        objects = [np.stack([label == 1, label == 2]) for label in labels]
        matching = match_proposals(proposals, objects, [label == 255 for label in labels])
        for place in (0, 1):
            direct.update(str(annotator), f"o{place}", matching.similarity[place], matching.accuracy[place])
    scores = SCORERS["ref_davis"].compute(records)
    assert {name: scores[name] for name in ("J", "F", "J_decay")} == {
        name: pytest.approx(direct.compute()["all"][name]) for name in ("J", "F", "J_decay")
    }


def test_questions_keep_the_words_and_score_like_the_metric(tmp_path):
    samples, direct, scorer = [question(index) for index in range(4)], PopeScores(), SCORERS["pope"]
    made = [scorer.score_sample(sample, ["Yes, there is."], None)[0] for sample in samples]
    for sample in samples:
        direct.update("Yes, there is.", sample.expressions[0].answer, {"category": "random"})
    records = json.loads(json.dumps(made))
    assert [record["score"] for record in records] == [1.0, 0.0, 1.0, 0.0]
    assert scorer.compute(records) == direct.compute()
    failed = [scorer.score_sample(sample, None, None)[0] for sample in samples]
    assert scorer.compute(failed)["accuracy"] == 0.0


@pytest.mark.parametrize("name", SCORERS)
def test_a_sample_that_cannot_be_read_is_one_wrong_answer(name):
    scorer = SCORERS[name]
    scores = scorer.compute([{**scorer.unreadable, "id": "sample 3"}])
    headline = {"revos": "overall/J&F", "ref_davis": "J&F", "clip": "J&F", "pope": "f1"}.get(name)
    headline = headline or ("giou" if "region" in name else "accuracy")
    assert scores[headline] == 0.0


def test_a_question_whose_answer_is_not_public_is_kept_unscored():
    sample = question(0)
    sample = replace(sample, expressions=(replace(sample.expressions[0], answer=None, details={}),))
    (record,) = SCORERS["vqav2"].score_sample(sample, ["yes"], None)
    assert record["answer"] == "yes" and "score" not in record
    assert SCORERS["vqav2"].compute([record]) == {}
