"""Each kind of claim against a slow, obvious reading of random scenes of coloured rectangles."""

import numpy as np
import pytest

from instructseg.synthesis.affordances_coco import COCO_FUNCTIONS
from instructseg.synthesis.affordances_fashion import FASHION_FUNCTIONS
from instructseg.synthesis.colors import COLOR_NAMES, color_codes, color_shares, dominant_color
from instructseg.synthesis.expressions import function_claims, res_claims
from instructseg.synthesis.nouns import (
    COCO_NOUNS,
    FASHION_NOUNS,
    NEVER_ABSENT,
    SUPERCLASSES,
    indefinite,
    plural,
    words,
)
from instructseg.synthesis.scene import Scene, Thing
from instructseg.synthesis.text import Claim, write

PAINT = {"red": (220, 20, 20), "green": (30, 170, 40), "blue": (30, 60, 220), "white": (250, 250, 250)}
NOUNS = ("dog", "cup", "kite", "clock", "person")
VOCABULARY = frozenset([*NOUNS, "zebra", "pizza", "boat"])
SIZE = (120, 160)


def box_thing(name, x0, y0, x1, y1, countable=True):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return Thing(name, mask, float((y1 - y0) * (x1 - x0)), countable)


def random_scene(seed):
    """One to seven rectangles, later ones in front."""
    rng = np.random.default_rng(seed)
    scene = Scene(np.full((*SIZE, 3), 128, np.uint8), [])
    for _ in range(rng.integers(1, 8)):
        x0, y0 = int(rng.integers(0, 130)), int(rng.integers(0, 90))
        name = NOUNS[rng.integers(len(NOUNS))]
        thing = box_thing(name, x0, y0, x0 + int(rng.integers(4, 40)), y0 + int(rng.integers(4, 40)))
        for other in scene.things:
            other.cover(thing.mask)
        scene.image[thing.mask] = list(PAINT.values())[rng.integers(len(PAINT))]
        scene.things.append(thing)
    scene.drop_invisible()
    return scene


def pixels_of(thing):
    rows, columns = np.nonzero(thing.mask)
    return rows, columns


SCENES = [random_scene(seed) for seed in range(300)]
CLAIMS = [(scene, claim) for scene in SCENES for claim in res_claims(scene, VOCABULARY, 0.005)]


def of_kind(kind):
    found = [(scene, claim) for scene, claim in CLAIMS if claim.kind == kind]
    assert len(found) > 20, f"too few {kind} claims to judge"
    return found


def others(scene, claim):
    return [thing for thing in scene.things if thing.name == claim.noun and thing is not claim.targets[0]]


@pytest.mark.parametrize("kind", ["unique", "position", "size", "relation", "color", "plural", "absent"])
def test_kinds_come_with_targets_that_are_large_enough(kind):
    for scene, claim in of_kind(kind):
        assert bool(claim.targets) == (kind != "absent")
        area = sum(thing.mask.sum() for thing in claim.targets)
        assert not claim.targets or area >= 0.005 * scene.pixels
        assert len(set(claim.phrases)) >= 2


def test_unique_is_unique():
    for scene, claim in of_kind("unique"):
        same = SUPERCLASSES["animal"] if "animal" in claim.phrases[0] else {claim.noun}
        assert [thing for thing in scene.things if thing.name in same] == list(claim.targets)


def test_plural_is_everything():
    for scene, claim in of_kind("plural"):
        everything = [thing for thing in scene.things if thing.name == claim.noun]
        assert len(everything) >= 2 and list(claim.targets) == everything


def test_ends_are_ends():
    for scene, claim in of_kind("position"):
        text, rest = claim.phrases[0], others(scene, claim)
        rows, columns = pixels_of(claim.targets[0])
        for thing in rest:
            other_rows, other_columns = pixels_of(thing)
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
    things = [box_thing("dog", x, 40, x + 15, 60) for x in (100, 10, 70, 40)]
    scene = Scene(np.full((*SIZE, 3), 128, np.uint8), things)
    texts = {text: claim.targets for claim in res_claims(scene, VOCABULARY, 0.005) for text in claim.phrases}
    assert texts["the second dog from the left"] == (things[3],)
    assert texts["the third dog from the left"] == texts["the 2nd dog from the right"] == (things[2],)
    assert texts["the leftmost dog"] == (things[1],)
    assert "the middle dog" not in texts


def test_sizes_have_a_clear_margin():
    for scene, claim in of_kind("size"):
        area, rest = claim.targets[0].mask.sum(), [thing.mask.sum() for thing in others(scene, claim)]
        large = any(word in claim.phrases[0] for word in ("largest", "biggest"))
        assert all(area >= 1.5 * other if large else 1.5 * area <= other for other in rest) and rest


def test_relations_hold_for_the_target_alone():
    def holds(relation, thing, anchor):
        (rows, columns), (anchor_rows, anchor_columns) = pixels_of(thing), pixels_of(anchor)
        return {
            "left of": columns.max() < anchor_columns.mean(),
            "right of": columns.min() > anchor_columns.mean(),
            "higher up than": rows.max() < anchor_rows.mean(),
            "lower down than": rows.min() > anchor_rows.mean(),
        }[relation]

    for scene, claim in of_kind("relation"):
        relation = next((each for each in ("left of", "right of", "higher", "lower") if each in claim.phrases[1]), None)
        if relation is None:
            continue
        relation = {"higher": "higher up than", "lower": "lower down than"}.get(relation, relation)
        anchor_noun = claim.phrases[1].split(" the ")[-1]
        anchors = [thing for thing in scene.things if anchor_noun in words(thing.name, frozenset())]
        assert len(anchors) == 1 and claim.noun != anchors[0].name
        assert holds(relation, claim.targets[0], anchors[0])
        assert not any(holds(relation, thing, anchors[0]) for thing in others(scene, claim))


def test_colors_are_the_paint_and_nobody_elses():
    for scene, claim in of_kind("color"):
        color = next(name for name in COLOR_NAMES if name in claim.phrases[0].split())
        assert (scene.image[claim.targets[0].mask] == PAINT[color]).all(1).mean() > 0.6
        for thing in others(scene, claim):
            assert (scene.image[thing.mask] == PAINT[color]).all(1).mean() < 0.2


def test_absent_is_absent():
    for scene, claim in of_kind("absent"):
        things = [thing for thing in scene.things if thing.name == claim.noun]
        if not things:
            assert claim.noun in VOCABULARY - NEVER_ABSENT
            continue
        colors = [name for name in COLOR_NAMES if name in claim.phrases[0].split()]
        if colors:
            for thing in things:
                assert not (scene.image[thing.mask] == PAINT.get(colors[0], (1, 2, 3))).all(1).any()
        else:
            columns = np.concatenate([pixels_of(thing)[1] for thing in things])
            assert columns.min() >= 80 if "left" in claim.phrases[0] else columns.max() < 80


def test_crowds_and_doubtful_nouns_silence_claims():
    image = np.full((*SIZE, 3), 128, np.uint8)
    dog, crowd = box_thing("dog", 10, 10, 40, 40), box_thing("dog", 60, 10, 90, 40, countable=False)
    for scene in (Scene(image, [dog, crowd]), Scene(image, [dog], doubtful={"dog"})):
        assert not any(claim.noun == "dog" for claim in res_claims(scene, VOCABULARY, 0.005))
        assert not function_claims(scene, "coco", 0.005)


def test_interchangeable_nouns_are_not_kept_apart():
    assert words("bag", frozenset(["purse"])) == () and words("bag", frozenset(["hat"])) == ("bag",)
    assert "bike" not in words("bicycle", frozenset(["motorcycle"]))


def test_function_questions_fit_exactly_one_noun():
    knife, fork = box_thing("knife", 10, 10, 40, 40), box_thing("fork", 60, 10, 90, 40)
    scissors = box_thing("scissors", 100, 50, 130, 80)
    image = np.full((*SIZE, 3), 128, np.uint8)
    asked = {text: claim.targets for claim in function_claims(Scene(image, [knife, fork]), "coco", 0.005)
             for text in claim.phrases}  # fmt: skip
    assert asked["what could be used to cut something?"] == (knife,)
    both = {text for claim in function_claims(Scene(image, [knife, scissors]), "coco", 0.005) for text in claim.phrases}
    assert "what could be used to cut something?" not in both
    assert not function_claims(Scene(image, [knife]), "", 0.005)


def test_question_tables_use_known_nouns_and_cover_the_vocabularies():
    for table, nouns in ((COCO_FUNCTIONS, COCO_NOUNS), (FASHION_FUNCTIONS, FASHION_NOUNS)):
        named = frozenset().union(*(row.nouns for row in table))
        assert named <= nouns and frozenset().union(*(row.blockers for row in table)) <= nouns
        assert all(len(set(row.questions)) >= 3 and not row.nouns & row.blockers for row in table)
    assert len(COCO_NOUNS) == 80
    assert frozenset().union(*(row.nouns for row in COCO_FUNCTIONS)) == COCO_NOUNS
    for noun in COCO_NOUNS:
        assert sum(len(row.questions) for row in COCO_FUNCTIONS if noun in row.nouns) >= 3


def test_grammar():
    assert [plural(word) for word in ("person", "knife", "bus", "boots", "baby", "toy", "couch", "mouse")] == [
        "people", "knives", "buses", "boots", "babies", "toys", "couches", "mice",
    ]  # fmt: skip
    assert [indefinite(word) for word in ("dog", "apple", "umbrella", "shoes", "hair", "orange")] == [
        "a dog", "an apple", "an umbrella", "shoes", "hair", "an orange",
    ]  # fmt: skip


def test_texts_are_varied_and_well_formed():
    rng = np.random.default_rng(0)
    texts = [write(claim, rng) for _, claim in CLAIMS for _ in range(2)]
    assert not any(mark in text for text in texts for mark in ("{", "}", "  ", "a shoes", "..", "?."))
    unique = next(claim for _, claim in of_kind("unique"))
    assert len({write(unique, rng) for _ in range(200)}) > 50


@pytest.mark.parametrize("color", PAINT)
def test_color_names(color):
    image = np.full((*SIZE, 3), PAINT[color], np.uint8)
    shares = color_shares(color_codes(image), np.ones(SIZE, bool))
    assert dominant_color(shares) == color
    image[:60] = (120, 60, 20)
    assert dominant_color(color_shares(color_codes(image), np.ones(SIZE, bool))) is None


def test_only_keeps_its_article():
    claim = Claim("unique", "dog", ("the only dog",))
    texts = {write(claim, np.random.default_rng(seed)).lower() for seed in range(300)}
    assert len(texts) > 20 and all("the only dog" in text for text in texts)
