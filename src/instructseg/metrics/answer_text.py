"""Parsing of text answers: the official VQA normal form, yes or no, the letter of a choice."""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTERS = "ABCDE"

_ARTICLES = {"a", "an", "the"}
_NUMBERS = {"none": "0"} | {
    word: str(number) for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
}
# The official evaluator's contractions. A word that lacks one apostrophe is repaired.
_CONTRACTIONS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()


def _lacking_one(word: str) -> list[str]:
    return [word[:index] + word[index + 1 :] for index, letter in enumerate(word) if letter == "'"]


# The one exception: the evaluator removes this apostrophe.
_REPAIRS = {short: word for word in _CONTRACTIONS for short in _lacking_one(word)} | {"somebody'd": "somebodyd"}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
# The evaluator passes a regex flag with this value as the number of replacements.
_MAX_STOPS = 32


def normalize_answer(answer: str) -> str:
    """An answer in the form the official VQA evaluator compares (https://visualqa.org/evaluation.html, vqaEval.py).

    Line breaks become spaces; punctuation is removed, or becomes a space between letters; lower case; number words up
    to ten become digits (and "none" 0); articles are removed; contractions get their apostrophe.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    return _without_articles(_without_punctuation(text))


def _without_punctuation(text: str) -> str:
    bare = text
    thousands = _COMMA_IN_NUMBER.search(text) is not None
    for mark in _PUNCTUATION:
        at_a_space = f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if at_a_space or thousands else " ")
    return _FULL_STOP.sub("", bare, count=_MAX_STOPS)


def _without_articles(text: str) -> str:
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_REPAIRS.get(word, word) for word in words if word not in _ARTICLES)


def short_answer(answer: str) -> str:
    """An answer as LLaVA passes it to GQA's exact-match evaluator: lower case, without a final full stop."""
    return answer.strip().rstrip(".").lower()


def yes_or_no(answer: str) -> str:
    """ "no" if "no", "No" or "not" is a word of the first sentence, else "yes", as in LLaVA's eval_pope.py.

    POPE's own evaluator does the same. Any other text is a "yes", even an empty one.
    """
    words = answer.partition(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def science_letter(answer: str, choices: int) -> str | None:
    """The letter that an answer to ScienceQA picks among the first `choices`, None if it picks none of them.

    As in LLaVA's eval_science_qa.py: the letter alone, an initial letter followed by a full stop and a space, or "The
    answer is" followed by a letter; a line break is read as ". ".
    """
    text = answer.replace("\n", ". ")
    if text.strip() in list(LETTERS):
        letter = text.strip()
    elif text[:1] in list(LETTERS) and text[1:3] == ". ":
        letter = text[0]
    else:
        found = re.search(r"The answer is ([A-E])\.", text) or re.search(r"The answer is ([A-E])", text)
        letter = found[1] if found else ""
    return letter if letter in list(LETTERS[:choices]) else None


def choice_letter(answer: str, choices: Sequence[str]) -> str | None:
    """The letter that an answer to MMBench picks, by the rules that its evaluator tries first (VLMEvalKit's matching).

    The only letter that is a separate word, unless it is an "A" among more than three words, which may be an article.
    Otherwise the only choice whose text is in the answer, unless the answer is more than twice as long as all choices.
    The official evaluator asks ChatGPT about the remaining answers; this function returns None for them (the
    evaluator's "exact matching").
    """
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", answer).split()
    letters = [letter for letter, _ in zip(LETTERS, choices, strict=False) if letter in words]
    if len(letters) == 1 and not ("A" in words and len(words) > 3):
        return letters[0]
    text = answer.lower()
    if len(text) > 2 * sum(map(len, choices)):
        return None
    named = [letter for letter, choice in zip(LETTERS, choices, strict=False) if choice.lower() in text]
    return named[0] if len(named) == 1 else None
