"""Each measure: entries of a sample, and scores from entries equal to the metric classes fed with the masks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import HEIGHT, WIDTH, Shifted, block, clip, photo, question

from instructseg.errors import InputError
from instructseg.evaluation.metrics import (
    AnnotatorScores,
    ClipScores,
    ExpressionScores,
    PopeScores,
    ReVosScores,
    match_proposals,
)
from instructseg.evaluation.predictor import MaskAnswer
from instructseg.evaluation.scoring.registry import MEASURES
from instructseg.types import Expression, Sample, Task


def entries_of(name, samples, system, more=None):
    """Entries of all samples after a trip through JSON, as records make it."""
    measure = MEASURES[name]
    made = [measure.entries(sample, getattr(system, measure.asks)(sample), more) for sample in samples]
    return json.loads(json.dumps([entry for entries in made for entry in entries]))


def test_regions_score_like_the_metric_itself():
    samples, direct = [photo(index) for index in range(6)], ExpressionScores()
    for sample in samples:
        for expression, answer in zip(sample.expressions, Shifted().segment_image(sample), strict=True):
            direct.update(expression.kind, answer.masks[0], expression.mask)
    scores = MEASURES["region"].scores(entries_of("region", samples, Shifted()))
    table = direct.compute()
    assert scores["giou"] == table["all"]["miou"] and scores["ciou"] == table["all"]["ciou"]
    assert scores["p@0.7"] == table["thing"]["p@0.7"] == 1.0
    assert (scores["n_acc"], scores["n_count"], scores["count"]) == (1.0, 6, 6)


def test_ignored_pixels_count_neither_way_unless_released():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    expression = Expression("it", block(0, 0), ignore=block(0, 8))
    sample = Sample("s", Task.REASON_SEG, (image,), (expression,))
    answers = [MaskAnswer([block(0, 0, 8, 16)])]
    (repaired,), (released,) = (MEASURES[name].entries(sample, answers, None) for name in ("region", "released_region"))
    assert (repaired["shared"], repaired["joined"], repaired["iou"]) == (64, 64, 1.0)
    assert (released["shared"], released["joined"]) == (64, 128)
    assert released["iou"] == 64 / (128 + 1e-5)


def test_scores_that_are_no_numbers_are_refused():
    answers = [MaskAnswer([None], [float("nan")]), MaskAnswer([None])]
    with pytest.raises(InputError, match="finite"):
        MEASURES["region"].entries(photo(0), answers, None)


def test_failures_count_as_wrong_with_and_without_a_target():
    measure = MEASURES["region"]
    entries = measure.entries(photo(0), None, None)
    assert [entry.get("iou") for entry in entries] == [0.0, None]
    scores = measure.scores([*entries, measure.lost])
    assert (scores["giou"], scores["ciou"], scores["n_acc"], scores["count"]) == (0.0, 0.0, 0.0, 2)


def test_clips_score_like_the_metric_itself():
    samples, direct = [clip(index) for index in range(3)], ClipScores()
    for sample in samples:
        direct.update("referring", Shifted().segment_clip(sample)[0].masks, sample.expressions[0].masks)
    entries = entries_of("clip", samples, Shifted())
    scores = MEASURES["clip"].scores(entries)
    assert {name: scores[name] for name in ("J&F", "J", "F", "count")} == direct.compute()["all"]
    assert entries[0]["frames"] == 3 and entries[0]["score"] == 0.5
    assert MEASURES["clip"].entries(samples[0], None, None)[0]["J&F"] == 0.0


def test_a_clip_without_public_truth_has_no_scores():
    entries = entries_of("clip", [clip(0, public=False)], Shifted())
    assert "J" not in entries[0] and MEASURES["clip"].scores(entries) == {}


def test_masks_are_brought_to_the_size_of_a_larger_truth():
    sample = clip(0)
    doubled = [None if mask is None else mask.repeat(2, 0).repeat(2, 1) for mask in sample.expressions[0].masks]
    sample = replace(sample, expressions=(replace(sample.expressions[0], masks=doubled),))
    answer = MaskAnswer([block(4, 4), None, block(4, 8)])
    (entry,) = MEASURES["clip"].entries(sample, [answer], None)
    assert entry["J"] > 0.97
    (exact,) = MEASURES["clip"].entries(sample, [MaskAnswer(doubled)], None)
    assert exact["J&F"] == 1.0
    with pytest.raises(InputError, match="frames' size"):
        MEASURES["clip"].entries(sample, [MaskAnswer([np.zeros((3, 3), bool)] * 3)], None)
    with pytest.raises(InputError, match="2 masks; the clip has 3"):
        MEASURES["clip"].entries(sample, [MaskAnswer([None, None])], None)


def test_revos_has_robustness_and_the_mean_of_its_two_parts():
    referring = clip(0)
    expression = replace(referring.expressions[0], kind="reasoning")
    reasoning = replace(referring, task=Task.REASON_VOS, expressions=(expression,))
    foreground = [block(4, 4, 8, 16)] * 3
    direct = ReVosScores()
    for sample, kind in ((referring, "referring"), (reasoning, "reasoning")):
        direct.update(kind, Shifted().segment_clip(sample)[0].masks, sample.expressions[0].masks, foreground)
    entries = entries_of("revos", [referring, reasoning], Shifted(), foreground)
    measure, table = MEASURES["revos"], direct.compute()
    scores = measure.scores(entries)
    assert scores["overall/R"] == table["overall"]["R"] < 1
    assert scores["reasoning/J&F"] == table["reasoning"]["J&F"]
    halved = measure.scores([*entries, measure.lost])
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
    answers = [MaskAnswer(exact[2]), MaskAnswer(exact[1]), MaskAnswer(exact[1]), MaskAnswer(nothing)]
    measure = MEASURES["ref_davis"]
    entries = json.loads(json.dumps(measure.entries(sample, answers, labels)))
    worth = {entry["id"]: entry["J&F"] for entry in entries}
    assert worth["10"] == worth["20"] == worth["11"] == 1.0
    assert worth["21"] == 0.0
    scores = measure.scores(entries)
    assert (scores["0/J"], scores["1/J"], scores["J&F"]) == (1.0, 0.5, 0.75)


def test_ref_davis_gives_a_pixel_to_the_surer_answer(labels):
    sample = davis(labels)
    both = [(label == 1) | (label == 2) for label in labels]
    second = [label == 2 for label in labels]
    answers = [
        MaskAnswer(both, [0.9] * 3), MaskAnswer(both), MaskAnswer(second, [0.1] * 3), MaskAnswer(second),
    ]  # fmt: skip
    entries = MEASURES["ref_davis"].entries(sample, answers, labels)
    # annotator 0: the first answer takes all; annotator 1 without scores: the later object wins
    assert [entry["J&F"] == 1.0 for entry in entries] == [False, True, False, True]


def test_ref_davis_equals_the_metric_on_random_masks(labels):
    rng = np.random.default_rng(0)
    sample = davis(labels)
    given = [[rng.random((HEIGHT, WIDTH)) < 0.3 for _ in labels] for _ in range(4)]
    entries = MEASURES["ref_davis"].entries(sample, [MaskAnswer(masks) for masks in given], labels)
    direct = AnnotatorScores()
    for annotator in (0, 1):
        first, second = given[annotator], given[2 + annotator]
        proposals = [np.stack([one & ~other, other]) for one, other in zip(first, second, strict=True)]
        objects = [np.stack([label == 1, label == 2]) for label in labels]
        matching = match_proposals(proposals, objects, [label == 255 for label in labels])
        for place in (0, 1):
            direct.update(str(annotator), f"o{place}", matching.similarity[place], matching.accuracy[place])
    scores = MEASURES["ref_davis"].scores(entries)
    assert {name: scores[name] for name in ("J", "F", "J_decay")} == {
        name: pytest.approx(direct.compute()["all"][name]) for name in ("J", "F", "J_decay")
    }


def test_questions_keep_the_words_and_score_like_the_metric(tmp_path):
    samples, direct, measure = [question(index) for index in range(4)], PopeScores(), MEASURES["pope"]
    made = [measure.entries(sample, ["Yes, there is."], None)[0] for sample in samples]
    for sample in samples:
        direct.update("Yes, there is.", sample.expressions[0].answer, {"category": "random"})
    entries = json.loads(json.dumps(made))
    assert [entry["worth"] for entry in entries] == [1.0, 0.0, 1.0, 0.0]
    assert measure.scores(entries) == direct.compute()
    failed = [measure.entries(sample, None, None)[0] for sample in samples]
    assert measure.scores(failed)["accuracy"] == 0.0


@pytest.mark.parametrize("name", MEASURES)
def test_a_sample_that_cannot_be_read_is_one_wrong_answer(name):
    measure = MEASURES[name]
    scores = measure.scores([{**measure.lost, "id": "sample 3"}])
    headline = {"revos": "overall/J&F", "ref_davis": "J&F", "clip": "J&F", "pope": "f1"}.get(name)
    headline = headline or ("giou" if "region" in name else "accuracy")
    assert scores[headline] == 0.0


def test_a_question_whose_answer_is_not_public_is_kept_unscored():
    sample = question(0)
    sample = replace(sample, expressions=(replace(sample.expressions[0], answer=None, details={}),))
    (entry,) = MEASURES["vqav2"].entries(sample, ["yes"], None)
    assert entry["answer"] == "yes" and "worth" not in entry
    assert MEASURES["vqav2"].scores([entry]) == {}
