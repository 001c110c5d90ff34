"""The motion that an instruction ascribes to its object: "the dog running to the left", "the car that does not move".

English only, and only directions in the picture. A place is not a motion: "the man walking on the left", "the dog
running to the left of the horse".
"""

from __future__ import annotations

import re
from typing import Literal, cast

Motion = Literal["left", "right", "up", "down", "still"]
"""A direction in the picture, or "still": the object does not move."""

_VERB = (
    r"(?<!\bthe )(?<!\ba )(?<!\ban )\b"  # "the running dog to the left" is about a place
    r"(?:(?:com|cycl|danc|driv|glid|mov|rac|rid|skat|slid)(?:e|es|ing)"
    r"|(?:crawl|drift|float|fly|gallop|go|hopp?|jogg?|jump|march|roll|runn?|rush|sail|shift|ski|speed|sprint|stepp?"
    r"|swimm?|travell?|trott?|walk)(?:s|es|ing)?|flies|head(?:s|ing))\b"
)
_OTHER_WORDS = r"(?: (?!\w+ing\b)[\w'-]+){0,8}?"  # without another verb: "moving along the sand, looking to the left"
_ADVERBS = r"(?: (?:away|fast|further|off|quickly|slightly|slowly|steadily|straight))*"
_PICTURE = r"(?: the)? (?:clip|frame|image|photo|picture|scene|screen|video|view)\b"
_NOT_A_PLACE = rf"(?!(?: hand)?(?: side)? of(?!{_PICTURE}))(?! hand\b)"
_NOT_BEFORE = (  # "right behind the dog", "the left side", "the right lane"
    r"(?! (?:above|after|away|before|behind|below|beside|corner|in front|lane|most|next|past|side|through|under)\b)"
)
_CLAUSE_END = r"(?= *(?:$|[,.;:?!]|(?:and|at all|in|out)\b))"

_DIRECTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_VERB}{_OTHER_WORDS} (?<!next )(?<!close )to(?:wards?)?(?: the)?(?: far)? (left|right)\b{_NOT_A_PLACE}",
        rf"{_VERB}{_OTHER_WORDS} (left|right|up|down)wards?\b",
        rf"{_VERB}{_ADVERBS} (left|right)\b{_NOT_BEFORE}{_NOT_A_PLACE}",
        rf"{_VERB}{_ADVERBS} (?!up and down|down and up)(up|down)\b{_CLAUSE_END}",
    )
)
_FROM = re.compile(rf"{_VERB}{_ADVERBS} from(?: the)?(?: far)? (left|right)\b{_NOT_A_PLACE}")
_UP, _DOWN = re.compile(r"\b(?:ris(?:e|es|ing)|ascend(?:s|ing)?)\b"), re.compile(r"\b(?:descend|fall)(?:s|ing)?\b")
_STILL = re.compile(
    rf"(?:\bnot|\bnever|n't) mov(?:e|es|ing)\b{_CLAUSE_END}"
    r"|\b(?:keep|remain|sitt?|stand|stay)(?:s|ing)? (?:in place|still)\b|\b(?:motionless|stationary)\b"
    r"|\b(?:not in|without|without any) (?:motion|movement)\b|\bwithout moving\b"
)
_NEGATION = re.compile(r"\b(?:not|never|neither)\b|n't\b")


def read_motion(instruction: str) -> Motion | None:
    """The direction that the object is said to move in, "still", or None: none, or another one, is said."""
    text = " ".join(instruction.lower().replace(" wards", "wards").split())
    if _STILL.search(text):
        return "still"
    if _NEGATION.search(text):
        return None
    for pattern in _DIRECTIONS:
        if found := pattern.search(text):
            return cast(Motion, found.group(1))
    if found := _FROM.search(text):
        return "right" if found.group(1) == "left" else "left"
    if _UP.search(text):
        return "up"
    return "down" if _DOWN.search(text) else None
