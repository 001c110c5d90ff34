"""How things move in a composed clip, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from instructseg.synthesis.expressions import is_fair, safe_groups, unique_phrases
from instructseg.synthesis.nouns import BYSTANDERS_WEAR, MASS, is_plural, plural
from instructseg.synthesis.scene import Scene, Thing
from instructseg.synthesis.text import Claim

_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_LARGER = 1.5
HIDDEN = 0.02  # visible share of a thing up to which it counts as not there


@dataclass(frozen=True)
class Motion:
    """`direction` "" stands still; `step` is the whole way (x, y) as shares of the picture; `growth` over the clip.

    One that `enters` is outside the picture at first, one that `leaves` is outside in the end.
    """

    direction: str = ""
    step: tuple[float, float] = (0.0, 0.0)
    stops: bool = False
    growth: float = 1.0
    enters: bool = False
    leaves: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Motion:
        """A clear motion: at least a fifth of the picture in one direction, or none, or a clear change of size."""
        choice = rng.random()
        if choice < 0.2:
            return cls()
        if choice < 0.32:
            return cls(growth=float(rng.uniform(1.7, 2.3)) ** (1 if rng.random() < 0.5 else -1))
        how = rng.choice(["through", "stops", "enters", "leaves"], p=[0.45, 0.15, 0.2, 0.2])
        return cls.towards(list(_DIRECTIONS)[rng.integers(4)], rng, **({} if how == "through" else {str(how): True}))

    @classmethod
    def towards(cls, direction: str, rng: np.random.Generator, **how: bool) -> Motion:
        """A way of at least a fifth of the picture to the left, right, up or down; `how` are fields that are True."""
        way, drift = rng.uniform(0.22, 0.5), rng.uniform(-0.03, 0.03)
        x, y = _DIRECTIONS[direction]
        return cls(direction, (x * way + abs(y) * drift, y * way + abs(x) * drift), **how)


@dataclass(frozen=True)
class _Meaning:
    """Words for one motion: who surely does it, who could be said to do it, and how it is put."""

    does: str
    phrases: tuple[str, ...]

    def surely(self, motion: Motion) -> bool:
        plain = not motion.stops and motion.growth == 1.0
        return {
            "still": plain and not motion.direction,
            "stops": motion.stops,
            "enters": motion.enters,
            "leaves": motion.leaves,
            "closer": motion.growth > 1,
            "away": motion.growth < 1,
        }.get(self.does, plain and motion.direction == self.does)

    def maybe(self, motion: Motion) -> bool:
        """Includes a thing that moved there and stopped, and, for "still", one that only changes its size."""
        if self.does == "still":
            return not motion.direction or motion.stops
        return self.surely(motion) or motion.direction == self.does


def _directed(side: str, *more: str) -> _Meaning:
    to = f"to the {side}" if side in ("left", "right") else f"{side}wards"
    common = (f"moving {side}", f"going {side}", f"moving {to}", f"that move{{s}} {to}", f"that {{be}} moving {side}")
    return _Meaning(side, (*common, *more))


_MEANINGS = (
    _directed("left", "heading left", "travelling to the left", "that go{es} left"),
    _directed("right", "heading right", "travelling to the right", "that go{es} right"),
    _directed("up", "heading up", "rising", "that rise{s}"),
    _directed("down", "heading down", "descending", "that descend{s}"),
    _Meaning("still", ("that {do} not move", "that {be} not moving", "that stay{s} in place", "that stay{s} still",
                       "that remain{s} still", "that keep{s} still", "without any motion")),
    _Meaning("stops", ("that stop{s}", "that stop{s} moving", "that come{s} to a stop", "that move{s} and then stop{s}",
                       "that halt{s}", "stopping halfway through the {picture}")),
    _Meaning("enters", ("that come{s} into the {picture}", "that enter{s} the {picture}", "coming into view",
                        "that come{s} in from outside", "that {be} not there at first", "that appear{s} later")),
    _Meaning("leaves", ("that leave{s} the {picture}", "that go{es} out of the {picture}", "leaving the {picture}",
                        "that exit{s} the {picture}", "that {be} gone in the end")),
    _Meaning("closer", ("that get{s} bigger", "coming closer", "that come{s} closer", "growing larger",
                        "that grow{s}", "that {be} getting bigger")),
    _Meaning("away", ("that get{s} smaller", "moving away", "that move{s} away", "shrinking", "that shrink{s}",
                      "that {be} getting smaller")),
)  # fmt: skip


def _agree(phrase: str, many: bool) -> str:
    forms = {"{s}": ("s", ""), "{es}": ("es", ""), "{be}": ("is", "are"), "{do}": ("does", "do")}
    for mark, (one, several) in forms.items():
        phrase = phrase.replace(mark, several if many else one)
    return phrase


def motion_claims(scene: Scene, motions: Mapping[int, Motion], min_area: float) -> list[Claim]:
    """The dog moving left, all the dogs moving left, the larger of them; and motions that nothing makes.

    `motions` is keyed by `id(thing)`; what is not in it belongs to the photo and stands still. Things of `scene` may
    have no visible pixel: what is said of such a thing is said with no target, as kind "hidden".
    """
    found = list(_only_ones(scene, motions))
    for group in safe_groups(scene):
        if not any(id(thing) in motions for thing in group.things):
            continue
        for meaning in _MEANINGS:
            found += _of_meaning(group.noun, group.things, group.words, meaning, motions)
    return _settled(scene, found, min_area)


def _settled(scene: Scene, claims: Iterable[Claim], min_area: float) -> list[Claim]:
    """The claims whose targets are well visible, or not at all: those become "hidden" claims without a target."""
    settled = []
    for claim in claims:
        seen = sum(thing.area for thing in claim.targets)
        if claim.targets and seen <= HIDDEN * sum(thing.whole for thing in claim.targets):
            settled.append(replace(claim, kind="hidden", targets=()))
        elif is_fair(scene, claim, min_area):
            settled.append(claim)
    return settled


def _only_ones(scene: Scene, motions: Mapping[int, Motion]) -> Iterator[Claim]:
    """The dog, where the clip has one and it can not be seen at the moment; `res_claims` has those that can."""
    for group in safe_groups(scene):
        if len(group.things) == 1 and id(group.things[0]) in motions and not group.things[0].area:
            for word in group.words:
                yield Claim("unique", group.noun, unique_phrases(word), group.things, is_plural(word))


def _of_meaning(
    noun: str, things: Sequence[Thing], said: Sequence[str], meaning: _Meaning, motions: Mapping[int, Motion]
) -> Iterator[Claim]:
    sure = [thing for thing in things if meaning.surely(motions.get(id(thing), Motion()))]
    maybe = [thing for thing in things if meaning.maybe(motions.get(id(thing), Motion()))]
    for word in said:
        many = is_plural(word)
        endings = tuple(_agree(phrase, many) for phrase in meaning.phrases)
        if not maybe:
            yield Claim("absent", noun, tuple(f"the {word} {ending}" for ending in endings), (), many)
        elif len(sure) == len(maybe) == 1:
            yield Claim("motion", noun, tuple(f"the {word} {ending}" for ending in endings), (sure[0],), many)
        elif len(sure) == len(maybe):
            yield from _of_several(noun, sure, word, meaning)


def _of_several(noun: str, sure: Sequence[Thing], word: str, meaning: _Meaning) -> Iterator[Claim]:
    if word not in MASS and noun not in BYSTANDERS_WEAR:
        endings = tuple(_agree(phrase, True) for phrase in meaning.phrases)
        texts = tuple(f"{all_of} {plural(word)} {ending}" for ending in endings for all_of in ("all the", "the"))
        yield Claim("motion", noun, texts, tuple(sure), True)
    by_area = sorted(sure, key=lambda thing: thing.area)
    clear = len(sure) == 2 and by_area[1].area >= _LARGER * by_area[0].area > 0
    if clear and meaning.does not in ("closer", "away"):
        endings = tuple(_agree(phrase, is_plural(word)) for phrase in meaning.phrases)
        for adjectives, thing in ((("larger", "bigger"), by_area[1]), (("smaller", "smaller"), by_area[0])):
            texts = tuple(f"the {adjective} {word} {ending}" for adjective in adjectives for ending in endings)
            yield Claim("motion", noun, texts, (thing,), is_plural(word))


_EDGES = {"left": "left edge", "right": "right edge", "up": "top edge", "down": "bottom edge"}

_ENTERING = (
    "what comes into the {picture}?",
    "what was not there when the {picture} began?",
    "what would a viewer be surprised to see arrive?",
    "which object is new in the {picture}?",
)
_LEAVING = (
    "what leaves the {picture}?",
    "what is no longer there when the {picture} ends?",
    "which object would a viewer lose sight of?",
    "what has gone by the end of the {picture}?",
)


def motion_questions(scene: Scene, motions: Mapping[int, Motion], min_area: float) -> list[Claim]:
    """Questions about what comes, goes or would happen next, when exactly one thing of the whole clip is meant."""
    by_id = {id(thing): thing for thing in scene.things}
    found: list[Claim] = []
    for side, edge in _EDGES.items():
        going = [key for key, motion in motions.items() if motion.direction == side]
        if len(going) == 1 and not (motions[going[0]].stops or motions[going[0]].leaves) and going[0] in by_id:
            texts = (
                f"what would leave the {{picture}} at the {edge} if it went on like this?",
                f"what is on its way to the {edge}?",
                f"what would reach the {edge} next?",
                f"which object should someone waiting at the {edge} expect?",
                f"if the {{picture}} went on, what would disappear at the {edge}?",
                f"what gets closer and closer to the {edge}?",
            )
            thing = by_id[going[0]]
            found.append(Claim("motion", thing.name, texts, (thing,), question=True))
    for passes, texts in (("enters", _ENTERING), ("leaves", _LEAVING)):
        through = [key for key, motion in motions.items() if getattr(motion, passes)]
        if len(through) == 1 and through[0] in by_id:
            thing = by_id[through[0]]
            found.append(Claim("motion", thing.name, texts, (thing,), question=True))
    return _settled(scene, found, min_area)
