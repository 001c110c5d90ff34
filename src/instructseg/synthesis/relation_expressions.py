"""Expressions about the position of one object relative to another, the anchor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructseg.synthesis.nouns import is_plural
from instructseg.synthesis.position_expressions import distances_from, extent
from instructseg.synthesis.scene import ObjectGroup, Scene, SceneObject
from instructseg.synthesis.text import CandidateExpression

_MIN_ANCHOR_SHARE = 0.005  # area of the anchor as a share of the picture
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_RELATIONS = {
    "left": ("to the left of", "left of", "on the left of", "located left of", "that {be} left of"),
    "right": ("to the right of", "right of", "on the right of", "located right of", "that {be} right of"),
    "above": ("above", "higher up than", "located above", "that {be} above", "positioned above", "up above"),
    "below": ("below", "lower down than", "located below", "that {be} below", "positioned below", "down below"),
    "beside": ("next to", "beside", "right next to", "right beside", "adjacent to", "that {be} next to"),
}


def relation_expressions(scene: Scene, groups: Sequence[ObjectGroup]) -> Iterator[CandidateExpression]:
    """ "the cup left of the laptop": the anchor is the only laptop, and exactly one cup is left of it."""
    for anchors in groups:
        if len(anchors.objects) != 1:
            continue
        (anchor,) = anchors.objects
        if not scene.is_clear(anchor) or anchor.area < _MIN_ANCHOR_SHARE * scene.pixels:
            continue
        for group in groups:
            if group.noun == anchors.noun:
                continue
            for relation, phrases in _RELATIONS.items():
                target = _unique_match(scene, relation, group.objects, anchor)
                if target is not None:
                    yield _expression(group, target, anchors.words[0], phrases)


def _expression(
    group: ObjectGroup, target: SceneObject, anchor_word: str, phrases: Sequence[str]
) -> CandidateExpression:
    word, weight = group.words[0], 1.0 if len(group.objects) > 1 else 0.3
    be = "are" if is_plural(word) else "is"
    texts = tuple(f"the {word} {phrase.replace('{be}', be)} the {anchor_word}" for phrase in phrases)
    return CandidateExpression("relation", group.noun, texts, (target,), is_plural(word), weight)


def _unique_match(
    scene: Scene, relation: str, objects: Sequence[SceneObject], anchor: SceneObject
) -> SceneObject | None:
    """The only object that is clearly in `relation` to the anchor; None unless all others clearly are not."""
    holds = _is_beside if relation == "beside" else _is_towards
    certain = [obj for obj in objects if holds(scene, relation, obj, anchor, strict=True)]
    possible = [obj for obj in objects if holds(scene, relation, obj, anchor, strict=False)]
    return certain[0] if len(certain) == 1 and len(possible) == 1 else None


def _is_towards(scene: Scene, relation: str, obj: SceneObject, anchor: SceneObject, strict: bool) -> bool:
    """Whether `obj` is left of, right of, above or below the anchor: clearly if `strict`, otherwise possibly."""
    vertical = relation in ("above", "below")
    side = {"above": "top", "below": "bottom"}.get(relation, relation)
    near_edge, center = distances_from(anchor, side)
    if not strict:
        return distances_from(obj, side)[1] < center + 0.03 * extent(scene, side)
    far_edge = -distances_from(obj, _OPPOSITE[side])[0]
    beyond = far_edge <= near_edge + 0.1 * _length(anchor, vertical)
    return beyond and _overlap(obj, anchor, not vertical) > 0.3


def _is_beside(scene: Scene, relation: str, obj: SceneObject, anchor: SceneObject, strict: bool) -> bool:
    """Whether `obj` is next to the anchor: clearly if `strict`, otherwise possibly."""
    gap, overlap = _horizontal_gap(obj, anchor), _overlap(obj, anchor, True)
    width = scene.image.shape[1]
    if not strict:
        return gap < 0.2 * width and (overlap > 0 or _overlap(obj, anchor, False) > 0)
    return -0.02 * width < gap < 0.06 * width and overlap > 0.5


def _length(obj: SceneObject, vertical: bool) -> int:
    return obj.box[3] - obj.box[1] if vertical else obj.box[2] - obj.box[0]


def _horizontal_gap(obj: SceneObject, anchor: SceneObject) -> int:
    """Horizontal distance of the boxes in pixels; negative when they overlap in x."""
    return max(obj.box[0], anchor.box[0]) - min(obj.box[2], anchor.box[2])


def _overlap(obj: SceneObject, anchor: SceneObject, vertical: bool) -> float:
    """The overlap of the boxes along one axis as a share of the shorter side; negative when they are apart."""
    low, high = (1, 3) if vertical else (0, 2)
    shared = min(obj.box[high], anchor.box[high]) - max(obj.box[low], anchor.box[low])
    return shared / max(1, min(_length(obj, vertical), _length(anchor, vertical)))
