"""Every expression that is true and unambiguous in a scene: which objects a noun, an attribute or a question refers to.

An expression is kept only if it is true by a clear margin; doubtful ones are dropped. A crowd region, or any other
uncountable object, rules out every expression about its noun, including the noun's absence. Expressions about
positions, relations and colours are in separate modules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from instructseg.synthesis.affordances import affordances
from instructseg.synthesis.colors import color_codes, color_expressions
from instructseg.synthesis.nouns import confusable, indefinite, is_plural, lookalikes, noun_table, plural, words_for
from instructseg.synthesis.position_expressions import (
    position_expressions,
    size_expressions,
    wrong_side_expressions,
)
from instructseg.synthesis.relation_expressions import relation_expressions
from instructseg.synthesis.scene import ObjectGroup, Scene, union
from instructseg.synthesis.text import CandidateExpression

_MAX_PLURAL_TARGETS = 12  # COCO annotators turn larger groups into crowds, so larger unions may be incomplete
_CONFUSABLE_WEIGHT = 6.0  # of an absent noun if the picture has an object that models confuse with it
_MIN_CLEAR_SHARE = 0.8  # area of a plural's target that belongs to clearly visible objects


def countable_groups(scene: Scene) -> list[ObjectGroup]:
    """The objects of each noun that has no uncountable objects and has words that are unambiguous in the scene."""
    groups = []
    for noun, objects in scene.objects_by_noun().items():
        words = words_for(noun, scene.possible_nouns - {noun})
        if words and noun not in scene.uncertain_nouns and all(obj.countable for obj in objects):
            groups.append(ObjectGroup(noun, tuple(objects), words))
    return groups


def referring_expressions(scene: Scene, vocabulary: frozenset[str], min_area: float) -> list[CandidateExpression]:
    """Every expression for referring segmentation that the scene supports.

    `vocabulary` contains the nouns that the dataset annotates: absent ones give expressions without a target.
    `min_area` is the minimum area of a target as a share of the picture.
    """
    groups = countable_groups(scene)
    codes = color_codes(scene.image)
    candidates: list[CandidateExpression] = []
    for group in groups:
        candidates += _unique(group)
        candidates += _plural(group)
        candidates += size_expressions(group)
        candidates += position_expressions(scene, group)
        candidates += color_expressions(group, codes)
        candidates += wrong_side_expressions(scene, group)
    candidates += relation_expressions(scene, groups)
    candidates += _superclasses(scene, vocabulary)
    candidates += _absent(scene, vocabulary)
    return [candidate for candidate in candidates if has_visible_target(scene, candidate, min_area)]


def affordance_expressions(scene: Scene, vocabulary: str, min_area: float) -> list[CandidateExpression]:
    """Questions about use that objects of exactly one noun in the scene answer (reasoning segmentation).

    `vocabulary` names the table of questions, see `affordances`; `min_area` is the minimum area of a target as a share
    of the picture.
    """
    groups = {group.noun: group for group in countable_groups(scene)}
    candidates = []
    for affordance in affordances(vocabulary):
        present = affordance.nouns & scene.possible_nouns
        if len(present) != 1 or not present <= groups.keys() or affordance.blockers & scene.possible_nouns:
            continue
        group = groups[next(iter(present))]
        takes_plural = len(group.objects) > 1 or is_plural(group.noun)
        candidates.append(
            CandidateExpression(
                "function", group.noun, affordance.questions, group.objects, takes_plural, question=True
            )
        )
    return [candidate for candidate in candidates if has_visible_target(scene, candidate, min_area)]


def has_visible_target(scene: Scene, candidate: CandidateExpression, min_area: float) -> bool:
    """True if there is no target, or it is large enough and most of it belongs to clearly visible objects."""
    targets = candidate.targets
    if not targets:
        return True
    if len(targets) == 1:
        return scene.is_clear(targets[0]) and targets[0].area >= min_area * scene.pixels
    clear = sum(obj.area for obj in targets if scene.is_clear(obj))
    area = int(np.count_nonzero(union(targets)))
    return len(targets) <= _MAX_PLURAL_TARGETS and area >= min_area * scene.pixels and clear >= _MIN_CLEAR_SHARE * area


def _unique(group: ObjectGroup) -> Iterator[CandidateExpression]:
    if len(group.objects) != 1:
        return
    for word in group.words:
        phrases = unique_phrases(word)
        if group.noun in noun_table().worn_by_bystanders:
            phrases = tuple(phrase for phrase in phrases if "only" not in phrase)
        yield CandidateExpression("unique", group.noun, phrases, group.objects, is_plural(word))


def unique_phrases(word: str) -> tuple[str, ...]:
    """Ways to name the only object of its kind."""
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


def _plural(group: ObjectGroup) -> Iterator[CandidateExpression]:
    table = noun_table()
    if len(group.objects) < 2 or group.noun in table.worn_by_bystanders:
        return
    for word in group.words:
        if word not in table.mass_nouns:
            yield CandidateExpression("plural", group.noun, _plural_phrases(word), group.objects, True)


def _plural_phrases(word: str) -> tuple[str, ...]:
    plural_word = plural(word)
    phrases = (
        f"all the {plural_word}",
        f"all {plural_word}",
        f"the {plural_word}",
        f"all of the {plural_word}",
        f"all {plural_word} in the {{picture}}",
        plural_word,
        f"the {plural_word} in this {{picture}}",
    )
    return phrases if is_plural(word) else (*phrases, f"every {word}", f"each {word} in the {{picture}}")


def _superclasses(scene: Scene, vocabulary: frozenset[str]) -> Iterator[CandidateExpression]:
    """ "the animal", "the vehicles": if all members in the scene are countable and lookalikes are absent."""
    table, groups = noun_table(), scene.objects_by_noun()
    for word, members in table.superclasses.items():
        objects = tuple(obj for noun in sorted(members & groups.keys()) for obj in groups[noun])
        if 2 * len(members & vocabulary) < len(members):
            continue  # the annotators may have left out other members
        if not objects or not all(obj.countable for obj in objects):
            continue
        if (members | {"teddy bear"}) & scene.uncertain_nouns or "teddy bear" in groups:
            continue
        if len(objects) == 1:
            yield CandidateExpression("unique", objects[0].name, unique_phrases(word), objects, weight=0.5)
        elif word not in table.mass_nouns:  # excludes "footwear": people in the background wear it too
            yield CandidateExpression("plural", objects[0].name, _plural_phrases(word), objects, True, weight=0.5)


def absent_nouns(scene: Scene, vocabulary: Collection[str]) -> list[str]:
    """The nouns of a vocabulary that are certainly not in the scene, sorted.

    Left out are nouns that annotators use interchangeably with one that is there, and those they often leave out.
    """
    possible = scene.possible_nouns
    missing = sorted(set(vocabulary) - possible - noun_table().never_absent)
    return [noun for noun in missing if words_for(noun, possible)]


def _absent(scene: Scene, vocabulary: frozenset[str]) -> Iterator[CandidateExpression]:
    """Expressions without a target: nouns that the annotators would have marked if they were in the picture."""
    table, possible = noun_table(), scene.possible_nouns
    absent = [noun for noun in absent_nouns(scene, vocabulary) if not lookalikes(noun) & possible]
    factors = {noun: _CONFUSABLE_WEIGHT if confusable(noun) & scene.visible_nouns else 1.0 for noun in absent}
    for noun, factor in factors.items():
        words = words_for(noun, possible)
        for word in words:
            weight = factor / (sum(factors.values()) * len(words))
            yield CandidateExpression("absent", noun, unique_phrases(word), (), is_plural(word), weight)
            if word not in table.mass_nouns:
                yield CandidateExpression("absent", noun, _plural_phrases(word), (), True, weight / 4)
