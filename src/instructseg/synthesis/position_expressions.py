"""Expressions about positions and sizes, computed from boxes and masks of the finished picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from instructseg.synthesis.nouns import is_plural, plural
from instructseg.synthesis.scene import ObjectGroup, Scene, SceneObject
from instructseg.synthesis.text import CandidateExpression

_MIN_GAP = 0.07  # minimum distance, as a share of the picture, between "leftmost" and the next object
_MIN_AREA_RATIO = 1.5  # minimum ratio of areas for "largest" and "smallest"

_EXTREMES = {
    "left": ("leftmost", "furthest to the left", "furthest left", "closest to the left edge", "most to the left"),
    "right": ("rightmost", "furthest to the right", "furthest right", "closest to the right edge", "most to the right"),
    "top": ("topmost", "highest up", "closest to the top edge", "nearest the top", "furthest up"),
    "bottom": ("bottommost", "lowest down", "closest to the bottom edge", "nearest the bottom", "furthest down"),
}


def distances_from(obj: SceneObject, side: str) -> tuple[float, float]:
    """(near edge, centre) of an object in pixels, measured from `side` inwards; smaller values are closer to it."""
    x0, y0, x1, y1 = obj.box
    x, y = obj.center
    return {"left": (x0, x), "right": (-x1, -x), "top": (y0, y), "bottom": (-y1, -y)}[side]


def extent(scene: Scene, side: str) -> int:
    """The picture's width for the sides left and right, its height for top and bottom."""
    return scene.image.shape[1 if side in ("left", "right") else 0]


def _in_order(scene: Scene, objects: Sequence[SceneObject], side: str) -> list[SceneObject] | None:
    """The objects sorted from `side` inwards; None unless edges and centres agree, with clear gaps between them."""
    ordered = sorted(objects, key=lambda obj: distances_from(obj, side)[1])
    return ordered if all(map(_clearly_before(scene, side), ordered, ordered[1:])) else None


def _clearly_before(scene: Scene, side: str) -> Callable[[SceneObject, SceneObject], bool]:
    gap = _MIN_GAP * extent(scene, side)

    def clearly_before(first: SceneObject, second: SceneObject) -> bool:
        (edge, center), (other_edge, other_center) = distances_from(first, side), distances_from(second, side)
        return edge + gap / 2 < other_edge and center + gap < other_center

    return clearly_before


def position_expressions(scene: Scene, group: ObjectGroup) -> Iterator[CandidateExpression]:
    """ "the leftmost cup", "the second cup from the right", "the middle cup", "the left cup" of two."""
    objects = group.objects
    if len(objects) == 1:
        yield from _half_of_single_object(scene, group)
        return
    for side, extremes in _EXTREMES.items():
        ordered = sorted(objects, key=lambda obj: distances_from(obj, side)[1])
        if all(_clearly_before(scene, side)(ordered[0], other) for other in ordered[1:]):
            for word in group.words:
                phrases = _extreme_phrases(word, side, extremes, len(objects))
                yield CandidateExpression("position", group.noun, phrases, (ordered[0],), is_plural(word))
    if 3 <= len(objects) <= 5 and all(map(scene.is_clear, objects)):
        yield from _ordinals(scene, group)


def _extreme_phrases(word: str, side: str, extremes: Sequence[str], count: int) -> tuple[str, ...]:
    be = "are" if is_plural(word) else "is"
    superlative, first, second, third, fourth = extremes
    phrases = [f"the {superlative} {word}", f"the {word} {first}", f"the {word} {second}", f"the {word} {third}"]
    phrases += [f"the {word} that {be} {first}", f"the {word} {fourth}", f"the {superlative} {word} in the {{picture}}"]
    if side in ("left", "right"):
        phrases.append(f"the first {word} from the {side}")
    if count == 2:
        phrases += [f"the {word} {'at' if side in ('top', 'bottom') else 'on'} the {side}"] * 3
        phrases.append({"left": f"the left {word}", "right": f"the right {word}"}.get(side, f"the {side} {word}"))
    return tuple(phrases)


def _half_of_single_object(scene: Scene, group: ObjectGroup) -> Iterator[CandidateExpression]:
    (obj,) = group.objects
    side = _half(scene, obj)
    if side:
        for word in group.words:
            phrases = _half_phrases(word, side)
            yield CandidateExpression("position", group.noun, phrases, (obj,), is_plural(word), weight=0.4)


def _half(scene: Scene, obj: SceneObject) -> str | None:
    """The half of the picture, "left" or "right", that clearly contains the object; None if neither does."""
    x0, _, x1, _ = obj.box
    width = scene.image.shape[1]
    return "left" if x1 < 0.47 * width else "right" if x0 > 0.53 * width else None


def _half_phrases(word: str, side: str) -> tuple[str, ...]:
    be = "are" if is_plural(word) else "is"
    return (
        f"the {word} on the {side}",
        f"the {word} on the {side} side",
        f"the {word} in the {side} half of the {{picture}}",
        f"the {word} on the {side} side of the {{picture}}",
        f"the {word} that {be} on the {side}",
        f"{word} on the {side}",
    )


def wrong_side_expressions(scene: Scene, group: ObjectGroup) -> Iterator[CandidateExpression]:
    """ "the dog in the left half" when every dog is in the right half: no target."""
    sides = {_half(scene, obj) for obj in group.objects}
    if len(sides) == 1 and (side := next(iter(sides))):
        word, wrong = group.words[0], "left" if side == "right" else "right"
        phrases = _half_phrases(word, wrong)[2:4]  # "on the left" alone could mean the leftmost of them
        yield CandidateExpression("absent", group.noun, phrases, (), is_plural(word), weight=0.3)


def _ordinals(scene: Scene, group: ObjectGroup) -> Iterator[CandidateExpression]:
    ordered: list[SceneObject] | None = None
    for side in ("left", "right"):
        ordered = _in_order(scene, group.objects, side)
        if ordered is None:
            return
        for rank, name in ((1, "second"), (2, "third")):
            if rank < len(ordered) - 1:
                for word in group.words:
                    phrases = _ordinal_phrases(word, name, rank + 1, side)
                    yield CandidateExpression("position", group.noun, phrases, (ordered[rank],), is_plural(word))
    if ordered and len(ordered) % 2:
        middle = (ordered[len(ordered) // 2],)
        for word in group.words:
            phrases = (f"the middle {word}", f"the {word} in the middle", f"the {word} between the others")
            yield CandidateExpression("position", group.noun, phrases, middle, is_plural(word), weight=0.7)


def _ordinal_phrases(word: str, name: str, rank: int, side: str) -> tuple[str, ...]:
    short = {2: "2nd", 3: "3rd"}[rank]
    return (
        f"the {name} {word} from the {side}",
        f"the {short} {word} from the {side}",
        f"the {name} {word} counting from the {side}",
        f"{word} number {rank} from the {side}",
        f"the {word} that comes {name} from the {side}",
        f"the {name} {word} from the {side} in the {{picture}}",
    )


def size_expressions(group: ObjectGroup) -> Iterator[CandidateExpression]:
    """The largest and the smallest object by visible area, if the next in size clearly differs."""
    if len(group.objects) < 2:
        return
    by_area = sorted(group.objects, key=lambda obj: obj.area)
    two = len(by_area) == 2
    if by_area[-1].area >= _MIN_AREA_RATIO * by_area[-2].area:
        adjectives = ("largest", "biggest", *(("larger", "bigger") if two else ()))
        yield from _with_size(group, by_area[-1], adjectives, "most")
    if by_area[1].area >= _MIN_AREA_RATIO * by_area[0].area:
        adjectives = ("smallest", "smallest", *(("smaller", "smaller") if two else ()))
        yield from _with_size(group, by_area[0], adjectives, "least")


def _with_size(
    group: ObjectGroup, target: SceneObject, adjectives: Sequence[str], amount: str
) -> Iterator[CandidateExpression]:
    for word in group.words:
        phrases = _size_phrases(word, adjectives, amount)
        yield CandidateExpression("size", group.noun, phrases, (target,), is_plural(word))


def _size_phrases(word: str, adjectives: Sequence[str], amount: str) -> tuple[str, ...]:
    be, take = ("are", "take") if is_plural(word) else ("is", "takes")
    return (
        *(f"the {adjective} {word}" for adjective in adjectives),
        f"the {adjectives[0]} {word} in the {{picture}}",
        f"the {word} that {be} the {adjectives[1]}",
        f"the {word} that {take} up the {amount} space",
        f"the {adjectives[1]} of the {word if is_plural(word) else plural(word)}",
    )
