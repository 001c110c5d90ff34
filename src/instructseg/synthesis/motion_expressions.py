"""Expressions about the motion of objects in a composed clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from instructseg.synthesis.expressions import countable_groups, has_visible_target, unique_phrases
from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.nouns import is_plural, noun_table, plural
from instructseg.synthesis.scene import ObjectGroup, Scene, SceneObject
from instructseg.synthesis.text import CandidateExpression

_MIN_AREA_RATIO = 1.5  # minimum ratio of areas for "larger" and "smaller"
MAX_HIDDEN_SHARE = 0.02  # maximum visible share of a hidden object


@dataclass(frozen=True)
class _MotionPhrases:
    """The phrases for one motion, with placeholders such as {s} for number agreement, and the motions they describe.

    `motion` is a direction or one of "still", "stops", "enters", "leaves", "closer", "away".
    """

    motion: str
    phrases: tuple[str, ...]

    def certainly_describe(self, motion: ObjectMotion) -> bool:
        """True if the phrases clearly describe `motion`."""
        plain = not motion.stops and motion.growth == 1.0
        return {
            "still": plain and not motion.direction,
            "stops": motion.stops,
            "enters": motion.enters,
            "leaves": motion.leaves,
            "closer": motion.growth > 1,
            "away": motion.growth < 1,
        }.get(self.motion, plain and motion.direction == self.motion)

    def possibly_describe(self, motion: ObjectMotion) -> bool:
        """True if they might describe `motion`: an object that stops also moves; one that only grows stays in place."""
        if self.motion == "still":
            return not motion.direction or motion.stops
        return self.certainly_describe(motion) or motion.direction == self.motion

    def agreeing(self, in_plural: bool) -> tuple[str, ...]:
        """The phrases in the plural or the singular."""
        return tuple(_agree(phrase, in_plural) for phrase in self.phrases)


def _direction_phrases(side: str, *more: str) -> _MotionPhrases:
    to = f"to the {side}" if side in ("left", "right") else f"{side}wards"
    common = (f"moving {side}", f"going {side}", f"moving {to}", f"that move{{s}} {to}", f"that {{be}} moving {side}")
    return _MotionPhrases(side, (*common, *more))


_MOTION_PHRASES = (
    _direction_phrases("left", "heading left", "travelling to the left", "that go{es} left"),
    _direction_phrases("right", "heading right", "travelling to the right", "that go{es} right"),
    _direction_phrases("up", "heading up", "rising", "that rise{s}"),
    _direction_phrases("down", "heading down", "descending", "that descend{s}"),
    _MotionPhrases("still", ("that {do} not move", "that {be} not moving", "that stay{s} in place",
                             "that stay{s} still", "that remain{s} still", "that keep{s} still", "without any motion")),
    _MotionPhrases("stops", ("that stop{s}", "that stop{s} moving", "that come{s} to a stop",
                             "that move{s} and then stop{s}", "that halt{s}",
                             "stopping halfway through the {picture}")),
    _MotionPhrases("enters", ("that come{s} into the {picture}", "that enter{s} the {picture}", "coming into view",
                              "that come{s} in from outside", "that {be} not there at first", "that appear{s} later")),
    _MotionPhrases("leaves", ("that leave{s} the {picture}", "that go{es} out of the {picture}",
                              "leaving the {picture}", "that exit{s} the {picture}", "that {be} gone in the end")),
    _MotionPhrases("closer", ("that get{s} bigger", "coming closer", "that come{s} closer", "growing larger",
                              "that grow{s}", "that {be} getting bigger")),
    _MotionPhrases("away", ("that get{s} smaller", "moving away", "that move{s} away", "shrinking", "that shrink{s}",
                            "that {be} getting smaller")),
)  # fmt: skip


def _agree(phrase: str, in_plural: bool) -> str:
    forms = {"{s}": ("s", ""), "{es}": ("es", ""), "{be}": ("is", "are"), "{do}": ("does", "do")}
    for placeholder, (singular_form, plural_form) in forms.items():
        phrase = phrase.replace(placeholder, plural_form if in_plural else singular_form)
    return phrase


def motion_expressions(scene: Scene, motions: Mapping[int, ObjectMotion], min_area: float) -> list[CandidateExpression]:
    """ "the dog moving left", "all the dogs moving left", "the larger dog moving left"; and motions without an object.

    `motions` is keyed by `id(object)`; objects that are not in it belong to the photo and do not move. Objects of
    `scene` without visible pixels get expressions of kind "hidden", which have no target. `min_area` is the minimum
    area of a target as a share of the picture.
    """
    candidates = list(_hidden_unique(scene, motions))
    for group in countable_groups(scene):
        if not any(id(obj) in motions for obj in group.objects):
            continue
        for phrases in _MOTION_PHRASES:
            candidates += _with_motion(group, phrases, motions)
    return visible_or_hidden(scene, candidates, min_area)


def visible_or_hidden(
    scene: Scene, candidates: Iterable[CandidateExpression], min_area: float
) -> list[CandidateExpression]:
    """Expressions with clearly visible targets, and those with hidden targets as kind "hidden" without a target.

    Expressions with a barely visible target are dropped.
    """
    selected = []
    for candidate in candidates:
        visible = sum(obj.area for obj in candidate.targets)
        if candidate.targets and visible <= MAX_HIDDEN_SHARE * sum(obj.full_area for obj in candidate.targets):
            selected.append(replace(candidate, kind="hidden", targets=()))
        elif has_visible_target(scene, candidate, min_area):
            selected.append(candidate)
    return selected


def _hidden_unique(scene: Scene, motions: Mapping[int, ObjectMotion]) -> Iterator[CandidateExpression]:
    """ "the dog" for the only dog of the clip while it is hidden; `referring_expressions` covers visible objects."""
    for group in countable_groups(scene):
        if len(group.objects) == 1 and id(group.objects[0]) in motions and not group.objects[0].area:
            for word in group.words:
                yield CandidateExpression("unique", group.noun, unique_phrases(word), group.objects, is_plural(word))


def _with_motion(
    group: ObjectGroup, phrases: _MotionPhrases, motions: Mapping[int, ObjectMotion]
) -> Iterator[CandidateExpression]:
    still = ObjectMotion()
    certain = [obj for obj in group.objects if phrases.certainly_describe(motions.get(id(obj), still))]
    possible = [obj for obj in group.objects if phrases.possibly_describe(motions.get(id(obj), still))]
    for word in group.words:
        in_plural = is_plural(word)
        texts = tuple(f"the {word} {ending}" for ending in phrases.agreeing(in_plural))
        if not possible:
            yield CandidateExpression("absent", group.noun, texts, (), in_plural)
        elif len(certain) == len(possible) == 1:
            yield CandidateExpression("motion", group.noun, texts, (certain[0],), in_plural)
        elif len(certain) == len(possible):
            yield from _with_shared_motion(group.noun, certain, word, phrases)


def _with_shared_motion(
    noun: str, objects: Sequence[SceneObject], word: str, phrases: _MotionPhrases
) -> Iterator[CandidateExpression]:
    """Expressions about all objects with the same motion; if there are two, also about the larger and the smaller."""
    table = noun_table()
    if word not in table.mass_nouns and noun not in table.worn_by_bystanders:
        starts = [f"{article} {plural(word)}" for article in ("all the", "the")]
        texts = tuple(f"{start} {ending}" for ending in phrases.agreeing(in_plural=True) for start in starts)
        yield CandidateExpression("motion", noun, texts, tuple(objects), True)
    by_area = sorted(objects, key=lambda obj: obj.area)
    clear = len(objects) == 2 and by_area[1].area >= _MIN_AREA_RATIO * by_area[0].area > 0
    if clear and phrases.motion not in ("closer", "away"):
        endings = phrases.agreeing(is_plural(word))
        for adjectives, target in ((("larger", "bigger"), by_area[1]), (("smaller", "smaller"), by_area[0])):
            texts = tuple(f"the {adjective} {word} {ending}" for adjective in adjectives for ending in endings)
            yield CandidateExpression("motion", noun, texts, (target,), is_plural(word))
