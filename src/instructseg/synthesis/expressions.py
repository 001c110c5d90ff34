"""True statements about which things a noun, an attribute or a question means in a scene.

The rule everywhere: a claim is made only when a clear margin makes it true and unambiguous; in doubt it is dropped.
A crowd region, or anything else nobody can count, of the same noun silences every claim about that noun but its
presence. Words for places, relations and colours live in `compose_places`, `compose_relations`, `compose_colors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from instructseg.synthesis.affordances_coco import COCO_FUNCTIONS
from instructseg.synthesis.affordances_fashion import FASHION_FUNCTIONS
from instructseg.synthesis.colors import color_claims, color_codes
from instructseg.synthesis.nouns import (
    BYSTANDERS_WEAR,
    MASS,
    NEVER_ABSENT,
    PLURAL_ONLY,
    SUPERCLASSES,
    indefinite,
    is_plural,
    lookalikes,
    plural,
    words,
)
from instructseg.synthesis.position_expressions import position_claims, size_claims, wrong_side_claims
from instructseg.synthesis.relation_expressions import relation_claims
from instructseg.synthesis.scene import Scene, Thing, union
from instructseg.synthesis.text import Claim

_FUNCTIONS = {"coco": COCO_FUNCTIONS, "fashion": FASHION_FUNCTIONS}
_MOST_IN_A_PLURAL = 12  # COCO annotators turn longer rows into crowds, so longer unions may be incomplete


@dataclass(frozen=True)
class Group:
    """All things of one noun that can be spoken of safely, with the words for it (singular) in this scene."""

    noun: str
    things: tuple[Thing, ...]
    words: tuple[str, ...]


def safe_groups(scene: Scene) -> list[Group]:
    """The noun groups without uncountable members whose words mean nothing else in the scene."""
    groups = []
    for noun, things in scene.groups().items():
        said = words(noun, scene.known - {noun})
        if said and noun not in scene.doubtful and all(thing.countable for thing in things):
            groups.append(Group(noun, tuple(things), said))
    return groups


def res_claims(scene: Scene, vocabulary: frozenset[str], min_area: float) -> list[Claim]:
    """Every claim for referring segmentation that the scene supports."""
    groups = safe_groups(scene)
    codes = color_codes(scene.image)
    found: list[Claim] = []
    for group in groups:
        found += _unique(scene, group)
        found += _plural(group)
        found += size_claims(group.noun, group.things, group.words)
        found += position_claims(scene, group.noun, group.things, group.words)
        found += color_claims(group.noun, group.things, group.words, codes)
        found += wrong_side_claims(scene, group.noun, group.things, group.words)
    found += relation_claims(scene, [(group.noun, group.things, group.words) for group in groups])
    found += _superclasses(scene)
    found += _missing(scene, vocabulary)
    return [claim for claim in found if is_fair(scene, claim, min_area)]


def function_claims(scene: Scene, domain: str, min_area: float) -> list[Claim]:
    """Questions about use that exactly one noun group of the scene answers (reasoning segmentation)."""
    groups = {group.noun: group for group in safe_groups(scene)}
    found = []
    for function in _FUNCTIONS.get(domain, ()):
        present = function.nouns & scene.known
        if len(present) != 1 or not present <= groups.keys() or function.blockers & scene.known:
            continue
        group = groups[next(iter(present))]
        several = len(group.things) > 1 or is_plural(group.noun)
        found.append(Claim("function", group.noun, function.questions, group.things, several, question=True))
    return [claim for claim in found if is_fair(scene, claim, min_area)]


def is_fair(scene: Scene, claim: Claim, min_area: float) -> bool:
    """The target is there to be seen: large enough, and mostly made of things that are not mere leftovers."""
    if not claim.targets:
        return True
    if len(claim.targets) == 1:
        return scene.is_clear(claim.targets[0]) and claim.targets[0].area >= min_area * scene.pixels
    clear = sum(thing.area for thing in claim.targets if scene.is_clear(thing))
    area = np.count_nonzero(union(list(claim.targets)))
    return len(claim.targets) <= _MOST_IN_A_PLURAL and area >= min_area * scene.pixels and clear >= 0.8 * area


def _unique(scene: Scene, group: Group) -> Iterator[Claim]:
    if len(group.things) != 1:
        return
    for word in group.words:
        phrases = unique_phrases(word)
        if group.noun in BYSTANDERS_WEAR:
            phrases = tuple(phrase for phrase in phrases if "only" not in phrase)
        yield Claim("unique", group.noun, phrases, group.things, is_plural(word))


def unique_phrases(word: str) -> tuple[str, ...]:
    """Ways to name the only thing of its kind."""
    return (
        f"the {word}",
        f"the {word}",
        f"the only {word}",
        f"the {word} in the {{picture}}",
        indefinite(word),
        f"the {word} in this {{picture}}",
        f"the {word} that can be seen",
        word,
    )


def _plural(group: Group) -> Iterator[Claim]:
    if len(group.things) < 2 or group.noun in BYSTANDERS_WEAR:
        return
    for word in group.words:
        if word not in MASS:
            yield Claim("plural", group.noun, _plural_phrases(word), group.things, True)


def _plural_phrases(word: str) -> tuple[str, ...]:
    many = plural(word)
    phrases = (
        f"all the {many}",
        f"all {many}",
        f"the {many}",
        f"all of the {many}",
        f"all {many} in the {{picture}}",
        many,
        f"the {many} in this {{picture}}",
    )
    return phrases if word in PLURAL_ONLY else (*phrases, f"every {word}", f"each {word} in the {{picture}}")


def _superclasses(scene: Scene) -> Iterator[Claim]:
    """ "the animal", "the vehicles": when all members present are countable and lookalikes are absent."""
    groups = scene.groups()
    for word, members in SUPERCLASSES.items():
        things = tuple(thing for noun in sorted(members & groups.keys()) for thing in groups[noun])
        if not things or not all(thing.countable for thing in things):
            continue
        if (members | {"teddy bear"}) & scene.doubtful or "teddy bear" in groups:
            continue
        if len(things) == 1:
            yield Claim("unique", things[0].name, unique_phrases(word), things, weight=0.5)
        elif word not in MASS:  # so never "footwear": people in the background wear it too
            yield Claim("plural", things[0].name, _plural_phrases(word), things, True, weight=0.5)


def _missing(scene: Scene, vocabulary: frozenset[str]) -> Iterator[Claim]:
    """Nouns the annotators would have marked, were they in the picture."""
    known = scene.known
    free = (noun for noun in sorted(vocabulary - known - NEVER_ABSENT) if not lookalikes(noun) & known)
    missing = [noun for noun in free if words(noun, known)]
    for noun in missing:
        for word in (said := words(noun, known)):
            weight = 1 / (len(missing) * len(said))
            yield Claim("absent", noun, unique_phrases(word), (), is_plural(word), weight)
            if word not in MASS:
                yield Claim("absent", noun, _plural_phrases(word), (), True, weight / 4)
