"""Templates and the words that fill them."""

import json
from collections import Counter

import pytest

from instructseg.prompts import (
    PLACEHOLDERS,
    RELEASED_SYSTEM,
    SEG_TOKEN,
    chat_template,
    format_instruction,
    guess_task,
    segmentation_template,
    split_placeholders,
)
from instructseg.types import Task

TASKS = [Task.RES, Task.REASON_SEG, Task.RVOS, Task.REASON_VOS]
WAYS = {
    ("paper", "image_first"): ["<image>", "<temporal>", "<refer>", "<seg>"],
    ("paper", "released"): ["<temporal>", "<image>", "<refer>", "<seg>"],
    ("released", "released"): ["<temporal>", "<image>", "<refer>", "<seg>"],
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_each_placeholder_once_in_its_order(way, task):
    text = segmentation_template(way[0], task, way[1])
    assert PLACEHOLDERS.findall(text) == WAYS[way]
    assert text.count(SEG_TOKEN) == 1 and text.endswith(f"{SEG_TOKEN}<seg>")
    assert "{" not in text and "}" not in text


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_tasks_have_their_own_words(way):
    """Two tasks about one photo never share a prompt, or the model could not tell what is asked."""
    assert len({segmentation_template(way[0], task, way[1]) for task in TASKS}) == 4
    for task in TASKS:
        text = segmentation_template(way[0], task, way[1])
        assert ("video" in text or "frame" in text) == task.is_video
        assert ("Reasoning" in text) == task.is_reasoning and ("Referring" in text) != task.is_reasoning


def test_what_has_no_template():
    with pytest.raises(ValueError, match="chat_template"):
        segmentation_template("paper", Task.CHAT, "image_first")
    with pytest.raises(ValueError, match="block_order='released'"):
        segmentation_template("released", Task.RES, "image_first")


@pytest.mark.parametrize("prompt_set", ["paper", "released"])
def test_conversation(prompt_set):
    text = chat_template(prompt_set)
    assert PLACEHOLDERS.findall(text) == ["<image>", "<refer>"] and text.endswith("ASSISTANT:")
    assert text.startswith(RELEASED_SYSTEM) == (prompt_set == "released")


def test_split_keeps_everything():
    text = segmentation_template("paper", Task.RVOS, "image_first")
    assert "".join(split_placeholders(text)) == text and all(split_placeholders(text))
    assert Counter(split_placeholders("<seg><seg> a")) == Counter(["<seg>", "<seg>", " a"])


@pytest.mark.parametrize("prompt_set, expected", [("paper", " the red dog"), ("released", "the red dog")])
def test_instructions_are_tidied(prompt_set, expected):
    assert format_instruction("  the\n red\t dog ", prompt_set) == expected


DESCRIPTIONS = [
    "the dog on the left", "Dog", "the thing that can fly", "the can opener on the table",
    "can opener on the table", "can of soda next to the sink", "can that is open", "can on the top shelf", "cans",
    "the can the man is holding", "do not enter sign", "no parking sign", "will smith", "may pole in the garden",
    "must have book on the shelf", "island in the sea", "candle", "whole pizza", "howling wolf", "iffy looking stairs",
    "wherever the cat sits", "ice cream", "arena behind the players", "area rug",
    "the man who is tall", "the bench where she sits", "the cup which is red", "a man, who is tall, in a red coat",
    "the clock that tells when the train leaves", "woman, left", "the boy with the bat; not the catcher",
    "person whose hat is red", "the street sign that says what to do", "girl in the “if you can read this” shirt",
    "second giraffe from right", "the dog?", "the bench where she sits?",
]  # fmt: skip
REQUESTS = [
    "where is the cup", "Where is the cup?", "where's my phone?", "Where are the cups on the table?",
    "where is the cup next to the plate?", "Can you segment the dog?", "could you please find the red car",
    "Would you help me find the can opener?", "please highlight the man in the can costume", "Segment the can.",
    "show me the cat that is sitting", "find the can you see on the table", "will you mark the zebra, please?",
    "point to the dog", "give me the leftmost bus", "mask on the face", "mark on the wall",
]  # fmt: skip
QUESTIONS = [
    "what can be used to tell the time?", "  Which one is the oldest", "where could I sit down?", "What's burning?",
    "what I need when it rains", "is there a dog", "Isn't that a dog?", "if it rains, what keeps me dry",
    "can I sit here?", "Can the dog reach the ball", "can anyone swim in this", "do you see a dog",
    "Do all of them fly?", "have you seen a dog", "may I drink this?", "will it rain", "how would you cut bread?",
    "who is winning",
    "whose hat is this", "why is the man running", "when it is dark, what gives light", "in what can I carry water",
    "In this kitchen, what would you use to cut bread?", "I am thirsty. What can I drink", "on which chair is the cat",
    "to cut bread, which of these would you take?", "where is the best place to sit?", "where is everyone",
    "find what tells the time", "Can you show me what I can sit on?", "please segment which one is oldest",
    "could you sit on this?", "“What is this?”", "what’s this", "does it bite", "are these edible?", "should I run",
    "Behind what is the cat hiding?", "The boy is holding what?", "So, how do I get in",
]  # fmt: skip


@pytest.mark.parametrize("instruction", [*DESCRIPTIONS, *REQUESTS, "", "?", " ".join(["word"] * 16)])
def test_words_that_name_an_object_refer_to_it(instruction):
    assert guess_task(instruction) is Task.RES and guess_task(instruction, video=True) is Task.RVOS


@pytest.mark.parametrize("instruction", [*QUESTIONS, " ".join(["word"] * 17)])
def test_questions_and_long_sentences_ask_for_reasoning(instruction):
    assert guess_task(instruction) is Task.REASON_SEG and guess_task(instruction, video=True) is Task.REASON_VOS


def test_expressions_of_people_are_no_questions(shared_data):
    """Human referring expressions: RefCOCOg (Google's validation split), Ref-YouTube-VOS, at most 16 words."""
    photos = json.loads((shared_data / "data/google_refexp/gref_val_expressions.json").read_text())
    clips = json.loads((shared_data / "data/ref_youtube_vos/meta_expressions_valid_plus_test_2021.json").read_text())
    texts = {entry["sent"] for entry in photos}
    texts |= {one["exp"] for clip in clips["videos"].values() for one in clip["expressions"].values()}
    short = [text for text in texts if len(text.split()) <= 16]
    assert len(short) > 6000 and not [text for text in short if guess_task(text) is not Task.RES]


def test_questions_of_people_are_questions(shared_data):
    """GQA's test questions; "Where is the cart?" is meant to be missed, as it asks to be shown the cart."""
    lines = (shared_data / "data/llava_eval/gqa/llava_gqa_testdev_balanced.jsonl").read_text().splitlines()
    texts = {json.loads(line)["text"].split("\n")[0] for line in lines}
    missed = [text for text in texts if guess_task(text) is not Task.REASON_SEG]
    assert len(texts) > 11_000 and len(missed) < 0.015 * len(texts)
