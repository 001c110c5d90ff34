"""Where things are and how large: computed from boxes and masks after all geometry is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructseg.synthesis.nouns import is_plural, plural
from instructseg.synthesis.scene import Scene, Thing
from instructseg.synthesis.text import Claim

_CLEARLY = 0.07  # least distance, as a share of the picture, between "leftmost" and the next one
_LARGER = 1.5  # least ratio of areas for "largest" and "smallest"

Group = tuple[str, Sequence[Thing], Sequence[str]]  # noun, its things, its words

_ENDS = {
    "left": ("leftmost", "furthest to the left", "furthest left", "closest to the left edge", "most to the left"),
    "right": ("rightmost", "furthest to the right", "furthest right", "closest to the right edge", "most to the right"),
    "top": ("topmost", "highest up", "closest to the top edge", "nearest the top", "furthest up"),
    "bottom": ("bottommost", "lowest down", "closest to the bottom edge", "nearest the bottom", "furthest down"),
}


def along(thing: Thing, side: str) -> tuple[float, float]:
    """(near edge, centre) of a thing measured from `side` inwards; smaller is closer to that side."""
    x0, y0, x1, y1 = thing.box
    x, y = thing.center
    return {"left": (x0, x), "right": (-x1, -x), "top": (y0, y), "bottom": (-y1, -y)}[side]


def extent(scene: Scene, side: str) -> int:
    return scene.image.shape[1 if side in ("left", "right") else 0]


def _in_order(scene: Scene, things: Sequence[Thing], side: str) -> list[Thing] | None:
    """Things from `side` inwards when edges and centres agree with clear gaps between all of them."""
    ordered = sorted(things, key=lambda thing: along(thing, side)[1])
    return ordered if all(map(_apart(scene, side), ordered, ordered[1:])) else None


def _apart(scene: Scene, side: str):
    gap = _CLEARLY * extent(scene, side)

    def clearly_before(first: Thing, second: Thing) -> bool:
        (edge, center), (other_edge, other_center) = along(first, side), along(second, side)
        return edge + gap / 2 < other_edge and center + gap < other_center

    return clearly_before


def position_claims(scene: Scene, noun: str, things: Sequence[Thing], said: Sequence[str]) -> Iterator[Claim]:
    """The leftmost, the second from the right, the one in the middle, the one on the left of two."""
    if len(things) == 1:
        yield from _own_side(scene, noun, things[0], said)
        return
    for side, ends in _ENDS.items():
        ordered = sorted(things, key=lambda thing: along(thing, side)[1])
        if all(_apart(scene, side)(ordered[0], other) for other in ordered[1:]):
            for word in said:
                phrases = _end_phrases(word, side, ends, len(things))
                yield Claim("position", noun, phrases, (ordered[0],), is_plural(word))
    if 3 <= len(things) <= 5 and all(map(scene.is_clear, things)):
        yield from _ordinals(scene, noun, things, said)


def _end_phrases(word: str, side: str, ends: Sequence[str], count: int) -> tuple[str, ...]:
    be = "are" if is_plural(word) else "is"
    phrases = [f"the {ends[0]} {word}", f"the {word} {ends[1]}", f"the {word} {ends[2]}", f"the {word} {ends[3]}"]
    phrases += [f"the {word} that {be} {ends[1]}", f"the {word} {ends[4]}", f"the {ends[0]} {word} in the {{picture}}"]
    if side in ("left", "right"):
        phrases.append(f"the first {word} from the {side}")
    if count == 2:
        phrases += [f"the {word} {'at' if side in ('top', 'bottom') else 'on'} the {side}"] * 3
        phrases.append({"left": f"the left {word}", "right": f"the right {word}"}.get(side, f"the {side} {word}"))
    return tuple(phrases)


def _own_side(scene: Scene, noun: str, thing: Thing, said: Sequence[str]) -> Iterator[Claim]:
    side = _side(scene, thing)
    if side:
        for word in said:
            yield Claim("position", noun, _side_phrases(word, side), (thing,), is_plural(word), weight=0.4)


def _side(scene: Scene, thing: Thing) -> str | None:
    """The half of the picture that a thing is clearly in."""
    x0, _, x1, _ = thing.box
    width = scene.image.shape[1]
    return "left" if x1 < 0.47 * width else "right" if x0 > 0.53 * width else None


def _side_phrases(word: str, side: str) -> tuple[str, ...]:
    be = "are" if is_plural(word) else "is"
    return (
        f"the {word} on the {side}",
        f"the {word} on the {side} side",
        f"the {word} in the {side} half of the {{picture}}",
        f"the {word} on the {side} side of the {{picture}}",
        f"the {word} that {be} on the {side}",
        f"{word} on the {side}",
    )


def wrong_side_claims(scene: Scene, noun: str, things: Sequence[Thing], said: Sequence[str]) -> Iterator[Claim]:
    """The dog on the left, when every dog is in the right half: nothing."""
    sides = {_side(scene, thing) for thing in things}
    if len(sides) == 1 and (side := next(iter(sides))):
        wrong = "left" if side == "right" else "right"
        phrases = _side_phrases(said[0], wrong)[2:4]  # "on the left" alone could mean the leftmost of them
        yield Claim("absent", noun, phrases, (), is_plural(said[0]), weight=0.3)


def _ordinals(scene: Scene, noun: str, things: Sequence[Thing], said: Sequence[str]) -> Iterator[Claim]:
    for side in ("left", "right"):
        ordered = _in_order(scene, things, side)
        if ordered is None:
            return
        for rank, name in ((1, "second"), (2, "third")):
            if rank < len(ordered) - 1:
                for word in said:
                    phrases = _rank_phrases(word, name, rank + 1, side)
                    yield Claim("position", noun, phrases, (ordered[rank],), is_plural(word))
    if len(things) % 2:
        for word in said:
            phrases = (f"the middle {word}", f"the {word} in the middle", f"the {word} between the others")
            yield Claim("position", noun, phrases, (ordered[len(things) // 2],), is_plural(word), weight=0.7)


def _rank_phrases(word: str, name: str, rank: int, side: str) -> tuple[str, ...]:
    short = {2: "2nd", 3: "3rd"}[rank]
    return (
        f"the {name} {word} from the {side}",
        f"the {short} {word} from the {side}",
        f"the {name} {word} counting from the {side}",
        f"{word} number {rank} from the {side}",
        f"the {word} that comes {name} from the {side}",
        f"the {name} {word} from the {side} in the {{picture}}",
    )


def size_claims(noun: str, things: Sequence[Thing], said: Sequence[str]) -> Iterator[Claim]:
    """The largest and the smallest by visible area, when the next one is far behind."""
    if len(things) < 2:
        return
    by_area = sorted(things, key=lambda thing: thing.area)
    two = len(things) == 2
    if by_area[-1].area >= _LARGER * by_area[-2].area:
        adjectives = ("largest", "biggest", *(("larger", "bigger") if two else ()))
        for word in said:
            yield Claim("size", noun, _size_phrases(word, adjectives, "most"), (by_area[-1],), is_plural(word))
    if by_area[1].area >= _LARGER * by_area[0].area:
        adjectives = ("smallest", "smallest", *(("smaller", "smaller") if two else ()))
        for word in said:
            yield Claim("size", noun, _size_phrases(word, adjectives, "least"), (by_area[0],), is_plural(word))


def _size_phrases(word: str, adjectives: Sequence[str], share: str) -> tuple[str, ...]:
    be, take = ("are", "take") if is_plural(word) else ("is", "takes")
    return (
        *(f"the {adjective} {word}" for adjective in adjectives),
        f"the {adjectives[0]} {word} in the {{picture}}",
        f"the {word} that {be} the {adjectives[1]}",
        f"the {word} that {take} up the {share} space",
        f"the {adjectives[1]} of the {word if is_plural(word) else plural(word)}",
    )
