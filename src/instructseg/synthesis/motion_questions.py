"""Questions about objects that enter, leave or approach an edge in a composed clip (ReasonVOS)."""

from __future__ import annotations

from collections.abc import Mapping

from instructseg.synthesis.motion import ObjectMotion
from instructseg.synthesis.motion_expressions import visible_or_hidden
from instructseg.synthesis.scene import Scene
from instructseg.synthesis.text import CandidateExpression

_EDGES = {"left": "left edge", "right": "right edge", "up": "top edge", "down": "bottom edge"}

_NEXT_QUESTIONS = (
    "what would leave the {{picture}} at the {edge} if it went on like this?",
    "what is on its way to the {edge}?",
    "what would reach the {edge} next?",
    "which object should someone waiting at the {edge} expect?",
    "if the {{picture}} went on, what would disappear at the {edge}?",
    "what gets closer and closer to the {edge}?",
)
_ENTERING_QUESTIONS = (
    "what comes into the {picture}?",
    "what was not there when the {picture} began?",
    "what would a viewer be surprised to see arrive?",
    "which object is new in the {picture}?",
)
_LEAVING_QUESTIONS = (
    "what leaves the {picture}?",
    "what is no longer there when the {picture} ends?",
    "which object would a viewer lose sight of?",
    "what has gone by the end of the {picture}?",
)


def motion_questions(scene: Scene, motions: Mapping[int, ObjectMotion], min_area: float) -> list[CandidateExpression]:
    """Questions that exactly one object of the whole clip answers; arguments as in `motion_expressions`."""
    by_id = {id(obj): obj for obj in scene.objects}
    candidates: list[CandidateExpression] = []

    def add_questions(key: int, texts: tuple[str, ...]) -> None:
        target = by_id[key]
        candidates.append(CandidateExpression("motion", target.name, texts, (target,), question=True))

    for side, edge in _EDGES.items():
        moving = [key for key, motion in motions.items() if motion.direction == side]
        if len(moving) == 1 and not (motions[moving[0]].stops or motions[moving[0]].leaves) and moving[0] in by_id:
            add_questions(moving[0], tuple(question.format(edge=edge) for question in _NEXT_QUESTIONS))
    entering = [key for key, motion in motions.items() if motion.enters]
    leaving = [key for key, motion in motions.items() if motion.leaves]
    for crossing, questions in ((entering, _ENTERING_QUESTIONS), (leaving, _LEAVING_QUESTIONS)):
        if len(crossing) == 1 and crossing[0] in by_id:
            add_questions(crossing[0], questions)
    return visible_or_hidden(scene, candidates, min_area)
