"""Relations between two things: one noun's only member that clearly stands so to another noun's only member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructseg.synthesis.nouns import is_plural
from instructseg.synthesis.position_expressions import Group, along, extent
from instructseg.synthesis.scene import Scene, Thing
from instructseg.synthesis.text import Claim

_RELATIONS = {
    "left": ("to the left of", "left of", "on the left of", "located left of", "that {be} left of"),
    "right": ("to the right of", "right of", "on the right of", "located right of", "that {be} right of"),
    "above": ("above", "higher up than", "located above", "that {be} above", "positioned above", "up above"),
    "below": ("below", "lower down than", "located below", "that {be} below", "positioned below", "down below"),
    "beside": ("next to", "beside", "right next to", "right beside", "adjacent to", "that {be} next to"),
}


def relation_claims(scene: Scene, groups: Sequence[Group]) -> Iterator[Claim]:
    """The cup left of the laptop: the anchor is alone of its noun, and exactly one cup stands so to it."""
    anchors = [(noun, things[0], said) for noun, things, said in groups if len(things) == 1]
    for anchor_noun, anchor, anchor_said in anchors:
        if not scene.is_clear(anchor) or anchor.area < 0.005 * scene.pixels:
            continue
        for noun, things, said in groups:
            if noun == anchor_noun:
                continue
            for relation, phrases in _RELATIONS.items():
                target = _only_one(scene, relation, things, anchor)
                if target is not None:
                    weight = 1.0 if len(things) > 1 else 0.3
                    yield _relation(noun, target, said[0], anchor_said[0], phrases, weight)


def _relation(noun: str, target: Thing, word: str, anchor: str, phrases: Sequence[str], weight: float) -> Claim:
    be = "are" if is_plural(word) else "is"
    texts = tuple(f"the {word} {phrase.replace('{be}', be)} the {anchor}" for phrase in phrases)
    return Claim("relation", noun, texts, (target,), is_plural(word), weight)


def _only_one(scene: Scene, relation: str, things: Sequence[Thing], anchor: Thing) -> Thing | None:
    """The one thing that clearly stands in `relation` to the anchor, if all others clearly do not."""
    holds = _beside if relation == "beside" else _towards
    sure = [thing for thing in things if holds(scene, relation, thing, anchor, strict=True)]
    maybe = [thing for thing in things if holds(scene, relation, thing, anchor, strict=False)]
    return sure[0] if len(sure) == 1 and len(maybe) == 1 else None


def _towards(scene: Scene, relation: str, thing: Thing, anchor: Thing, strict: bool) -> bool:
    across = relation in ("above", "below")
    side = {"above": "top", "below": "bottom"}.get(relation, relation)
    near, center = along(anchor, side)
    far = -along(thing, {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[side])[0]
    if not strict:
        return along(thing, side)[1] < center + 0.03 * extent(scene, side)
    return far <= near + 0.1 * _length(anchor, across) and _overlap(thing, anchor, not across) > 0.3


def _beside(scene: Scene, relation: str, thing: Thing, anchor: Thing, strict: bool) -> bool:
    gap, overlap = _gap(thing, anchor), _overlap(thing, anchor, True)
    width = scene.image.shape[1]
    if not strict:
        return gap < 0.2 * width and (overlap > 0 or _overlap(thing, anchor, False) > 0)
    return -0.02 * width < gap < 0.06 * width and overlap > 0.5


def _length(thing: Thing, vertical: bool) -> int:
    return thing.box[3] - thing.box[1] if vertical else thing.box[2] - thing.box[0]


def _gap(thing: Thing, anchor: Thing) -> int:
    """Horizontal distance of the boxes; negative when they overlap in x."""
    return max(thing.box[0], anchor.box[0]) - min(thing.box[2], anchor.box[2])


def _overlap(thing: Thing, anchor: Thing, vertical: bool) -> float:
    """How much of the shorter side the boxes share along one axis."""
    low, high = (1, 3) if vertical else (0, 2)
    shared = min(thing.box[high], anchor.box[high]) - max(thing.box[low], anchor.box[low])
    return shared / max(1, min(_length(thing, vertical), _length(anchor, vertical)))
