"""Each kind of candidate expression against a slow, obvious check of random scenes of coloured rectangles."""

import numpy as np
import pytest

from instructseg.synthesis.affordances import affordances
from instructseg.synthesis.colors import COLOR_NAMES, color_codes, color_shares, dominant_color
from instructseg.synthesis.expressions import affordance_expressions, referring_expressions
from instructseg.synthesis.nouns import indefinite, noun_table, plural, words_for
from instructseg.synthesis.scene import Scene, SceneObject
from instructseg.synthesis.text import CandidateExpression, write_text

PAINT = {"red": (220, 20, 20), "green": (30, 170, 40), "blue": (30, 60, 220), "white": (250, 250, 250)}
NOUNS = ("dog", "cup", "kite", "clock", "person")
VOCABULARY = frozenset([*NOUNS, "zebra", "pizza", "boat"])
SIZE = (120, 160)


def box_object(name, x0, y0, x1, y1, countable=True):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return SceneObject(name, mask, float((y1 - y0) * (x1 - x0)), countable)


def random_scene(seed):
    """One to seven rectangles, later ones in front."""
    rng = np.random.default_rng(seed)
    scene = Scene(np.full((*SIZE, 3), 128, np.uint8), [])
    for _ in range(rng.integers(1, 8)):
        x0, y0 = int(rng.integers(0, 130)), int(rng.integers(0, 90))
        name = NOUNS[rng.integers(len(NOUNS))]
        obj = box_object(name, x0, y0, x0 + int(rng.integers(4, 40)), y0 + int(rng.integers(4, 40)))
        for other in scene.objects:
            other.cover(obj.mask)
        scene.image[obj.mask] = list(PAINT.values())[rng.integers(len(PAINT))]
        scene.objects.append(obj)
    scene.drop_invisible()
    return scene


def pixels_of(obj):
    rows, columns = np.nonzero(obj.mask)
    return rows, columns


SCENES = [random_scene(seed) for seed in range(300)]
CANDIDATES = [(scene, candidate) for scene in SCENES for candidate in referring_expressions(scene, VOCABULARY, 0.005)]


def of_kind(kind):
    found = [(scene, candidate) for scene, candidate in CANDIDATES if candidate.kind == kind]
    assert len(found) > 20, f"too few {kind} candidates to judge"
    return found


def others(scene, candidate):
    return [obj for obj in scene.objects if obj.name == candidate.noun and obj is not candidate.targets[0]]


@pytest.mark.parametrize("kind", ["unique", "position", "size", "relation", "color", "plural", "absent"])
def test_kinds_come_with_targets_that_are_large_enough(kind):
    for scene, candidate in of_kind(kind):
        assert bool(candidate.targets) == (kind != "absent")
        area = sum(obj.mask.sum() for obj in candidate.targets)
        assert not candidate.targets or area >= 0.005 * scene.pixels
        assert len(set(candidate.phrases)) >= 2


def test_unique_is_unique():
    for scene, candidate in of_kind("unique"):
        same = noun_table().superclasses["animal"] if "animal" in candidate.phrases[0] else {candidate.noun}
        assert [obj for obj in scene.objects if obj.name in same] == list(candidate.targets)


def test_plural_is_everything():
    for scene, candidate in of_kind("plural"):
        everything = [obj for obj in scene.objects if obj.name == candidate.noun]
        assert len(everything) >= 2 and list(candidate.targets) == everything


def test_ends_are_ends():
    for scene, candidate in of_kind("position"):
        text, rest = candidate.phrases[0], others(scene, candidate)
        rows, columns = pixels_of(candidate.targets[0])
        for obj in rest:
            other_rows, other_columns = pixels_of(obj)
            if "leftmost" in text:
                assert columns.min() < other_columns.min() and columns.mean() < other_columns.mean() + 8
            if "rightmost" in text:
                assert columns.max() > other_columns.max()
            if "topmost" in text:
                assert rows.min() < other_rows.min()
            if "bottommost" in text:
                assert rows.max() > other_rows.max()
        if not rest:
            side = "left" if "left" in text else "right"
            assert (columns.max() < 80) if side == "left" else (columns.min() >= 80)


def test_ordinals_count_from_the_side_they_say():
    objects = [box_object("dog", x, 40, x + 15, 60) for x in (100, 10, 70, 40)]
    scene = Scene(np.full((*SIZE, 3), 128, np.uint8), objects)
    texts = {
        text: candidate.targets
        for candidate in referring_expressions(scene, VOCABULARY, 0.005)
        for text in candidate.phrases
    }
    assert texts["the second dog from the left"] == (objects[3],)
    assert texts["the third dog from the left"] == texts["the 2nd dog from the right"] == (objects[2],)
    assert texts["the leftmost dog"] == (objects[1],)
    assert "the middle dog" not in texts


def test_sizes_have_a_clear_margin():
    for scene, candidate in of_kind("size"):
        area, rest = candidate.targets[0].mask.sum(), [obj.mask.sum() for obj in others(scene, candidate)]
        large = any(word in candidate.phrases[0] for word in ("largest", "biggest"))
        assert all(area >= 1.5 * other if large else 1.5 * area <= other for other in rest) and rest


def test_relations_hold_for_the_target_alone():
    def holds(relation, obj, anchor):
        (rows, columns), (anchor_rows, anchor_columns) = pixels_of(obj), pixels_of(anchor)
        return {
            "left of": columns.max() < anchor_columns.mean(),
            "right of": columns.min() > anchor_columns.mean(),
            "higher up than": rows.max() < anchor_rows.mean(),
            "lower down than": rows.min() > anchor_rows.mean(),
        }[relation]

    for scene, candidate in of_kind("relation"):
        relation = next(
            (each for each in ("left of", "right of", "higher", "lower") if each in candidate.phrases[1]), None
        )
        if relation is None:
            continue
        relation = {"higher": "higher up than", "lower": "lower down than"}.get(relation, relation)
        anchor_noun = candidate.phrases[1].split(" the ")[-1]
        anchors = [obj for obj in scene.objects if anchor_noun in words_for(obj.name, frozenset())]
        assert len(anchors) == 1 and candidate.noun != anchors[0].name
        assert holds(relation, candidate.targets[0], anchors[0])
        assert not any(holds(relation, obj, anchors[0]) for obj in others(scene, candidate))


def test_colors_are_the_paint_and_nobody_elses():
    for scene, candidate in of_kind("color"):
        color = next(name for name in COLOR_NAMES if name in candidate.phrases[0].split())
        assert (scene.image[candidate.targets[0].mask] == PAINT[color]).all(1).mean() > 0.6
        for obj in others(scene, candidate):
            assert (scene.image[obj.mask] == PAINT[color]).all(1).mean() < 0.2


def test_absent_is_absent():
    for scene, candidate in of_kind("absent"):
        objects = [obj for obj in scene.objects if obj.name == candidate.noun]
        if not objects:
            assert candidate.noun in VOCABULARY - noun_table().never_absent
            continue
        colors = [name for name in COLOR_NAMES if name in candidate.phrases[0].split()]
        if colors:
            for obj in objects:
                assert not (scene.image[obj.mask] == PAINT.get(colors[0], (1, 2, 3))).all(1).any()
        else:
            columns = np.concatenate([pixels_of(obj)[1] for obj in objects])
            assert columns.min() >= 80 if "left" in candidate.phrases[0] else columns.max() < 80


def test_crowds_and_uncertain_nouns_rule_expressions_out():
    image = np.full((*SIZE, 3), 128, np.uint8)
    dog, crowd = box_object("dog", 10, 10, 40, 40), box_object("dog", 60, 10, 90, 40, countable=False)
    for scene in (Scene(image, [dog, crowd]), Scene(image, [dog], uncertain_nouns={"dog"})):
        assert not any(candidate.noun == "dog" for candidate in referring_expressions(scene, VOCABULARY, 0.005))
        assert not affordance_expressions(scene, "coco", 0.005)


def test_interchangeable_nouns_are_not_kept_apart():
    assert words_for("bag", frozenset(["purse"])) == () and words_for("bag", frozenset(["hat"])) == ("bag",)
    assert "bike" not in words_for("bicycle", frozenset(["motorcycle"]))


def test_affordance_questions_fit_exactly_one_noun():
    knife, fork = box_object("knife", 10, 10, 40, 40), box_object("fork", 60, 10, 90, 40)
    scissors = box_object("scissors", 100, 50, 130, 80)
    image = np.full((*SIZE, 3), 128, np.uint8)
    asked = {text: candidate.targets for candidate in affordance_expressions(Scene(image, [knife, fork]), "coco", 0.005)
             for text in candidate.phrases}  # fmt: skip
    assert asked["what could be used to cut something?"] == (knife,)
    both = {
        text
        for candidate in affordance_expressions(Scene(image, [knife, scissors]), "coco", 0.005)
        for text in candidate.phrases
    }
    assert "what could be used to cut something?" not in both
    assert not affordance_expressions(Scene(image, [knife]), "", 0.005)


@pytest.mark.parametrize("vocabulary", ["coco", "fashion"])
def test_question_tables_use_known_nouns_and_have_enough_questions(vocabulary):
    table, nouns = affordances(vocabulary), noun_table().vocabularies[vocabulary]
    named = frozenset().union(*(row.nouns for row in table))
    assert named <= nouns and frozenset().union(*(row.blockers for row in table)) <= nouns
    assert all(len(set(row.questions)) >= 3 and not row.nouns & row.blockers for row in table)


def test_questions_cover_the_coco_vocabulary():
    table, nouns = affordances("coco"), noun_table().vocabularies["coco"]
    assert len(nouns) == 80
    assert frozenset().union(*(row.nouns for row in table)) == nouns
    for noun in nouns:
        assert sum(len(row.questions) for row in table if noun in row.nouns) >= 3


def test_grammar():
    assert [plural(word) for word in ("person", "knife", "bus", "boots", "baby", "toy", "couch", "mouse")] == [
        "people", "knives", "buses", "boots", "babies", "toys", "couches", "mice",
    ]  # fmt: skip
    assert [indefinite(word) for word in ("dog", "apple", "umbrella", "shoes", "hair", "orange")] == [
        "a dog", "an apple", "an umbrella", "shoes", "hair", "an orange",
    ]  # fmt: skip


def test_texts_are_varied_and_well_formed():
    rng = np.random.default_rng(0)
    texts = [write_text(candidate, rng) for _, candidate in CANDIDATES for _ in range(2)]
    assert not any(mark in text for text in texts for mark in ("{", "}", "  ", "a shoes", "..", "?."))
    unique = next(candidate for _, candidate in of_kind("unique"))
    assert len({write_text(unique, rng) for _ in range(200)}) > 50


@pytest.mark.parametrize("color", PAINT)
def test_color_names(color):
    image = np.full((*SIZE, 3), PAINT[color], np.uint8)
    shares = color_shares(color_codes(image), np.ones(SIZE, bool))
    assert dominant_color(shares) == color
    image[:60] = (120, 60, 20)
    assert dominant_color(color_shares(color_codes(image), np.ones(SIZE, bool))) is None


def test_only_keeps_its_article():
    candidate = CandidateExpression("unique", "dog", ("the only dog",))
    texts = {write_text(candidate, np.random.default_rng(seed)).lower() for seed in range(300)}
    assert len(texts) > 20 and all("the only dog" in text for text in texts)
