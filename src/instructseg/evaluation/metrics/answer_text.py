"""What an answer in words amounts to: the official VQA normal form, yes or no, the letter of a choice."""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTERS = "ABCDE"

_ARTICLES = {"a", "an", "the"}
_NUMBERS = {"none": "0"} | {
    word: str(number) for number, word in enumerate("zero one two three four five six seven eight nine ten".split())
}
# The evaluator's contractions, written out. A word that lacks one of the apostrophes gets it back.
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
    return [word[:place] + word[place + 1 :] for place, letter in enumerate(word) if letter == "'"]


# The one exception: the evaluator takes this apostrophe away.
_REPAIRS = {short: word for word in _CONTRACTIONS for short in _lacking_one(word)} | {"somebody'd": "somebodyd"}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
# The evaluator passes a flag of this value where the count of replacements belongs.
_MOST_STOPS = 32


def normalize_answer(answer: str) -> str:
    """An answer as the official VQA evaluator compares it (https://visualqa.org/evaluation.html, vqaEval.py).

    Line breaks are spaces; punctuation goes, leaving a space where it stood between letters; lower case; number words
    up to ten become digits (and "none" 0); articles go; contractions get their apostrophe.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    return _without_articles(_without_punctuation(text))


def _without_punctuation(text: str) -> str:
    bare = text
    thousands = _COMMA_IN_NUMBER.search(text) is not None
    for mark in _PUNCTUATION:
        at_a_space = f"{mark} " in text or f" {mark}" in text
        bare = bare.replace(mark, "" if at_a_space or thousands else " ")
    return _FULL_STOP.sub("", bare, count=_MOST_STOPS)


def _without_articles(text: str) -> str:
    words = (_NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(_REPAIRS.get(word, word) for word in words if word not in _ARTICLES)


def short_answer(answer: str) -> str:
    """An answer as LLaVA hands it to GQA's evaluator, which compares letter by letter: lower case, no final stop."""
    return answer.strip().rstrip(".").lower()


def yes_or_no(answer: str) -> str:
    """ "no" if "no", "No" or "not" is a word of the first sentence, else "yes": how LLaVA's eval_pope.py reads.

    POPE's own evaluator reads the same way. Whatever else is said is a "yes", even nothing.
    """
    words = answer.partition(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(words) else "yes"


def science_letter(answer: str, choices: int) -> str | None:
    """The letter that an answer to ScienceQA picks among its first `choices`, None if it picks none of them.

    As LLaVA's eval_science_qa.py reads: the letter alone, the letter with a full stop and a space in front, or "The
    answer is" with a letter behind it; a line break is ". ".
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
    """The letter that an answer to MMBench picks: the rules its evaluator tries first (VLMEvalKit's matching).

    A letter that is a word of its own and the only one of those; "A" among more than three words may be an article,
    then, and where no letter stands, the one choice whose text is in the answer, unless that is twice as long as all
    choices. The official evaluator asks ChatGPT about the rest; here they pick nothing (its "exact matching").
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
