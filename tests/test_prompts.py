"""Templates and the words that fill them."""

from collections import Counter

import pytest

from instructseg.prompts import (
    PLACEHOLDERS,
    RELEASED_SYSTEM,
    SEG_TOKEN,
    chat_template,
    format_instruction,
    guess_task,
    split_placeholders,
    template,
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
    text = template(way[0], task, way[1])
    assert PLACEHOLDERS.findall(text) == WAYS[way]
    assert text.count(SEG_TOKEN) == 1 and text.endswith(f"{SEG_TOKEN}<seg>")
    assert "{" not in text and "}" not in text


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_tasks_have_their_own_words(way):
    """Two tasks about one photo never share a prompt, or the model could not tell what is asked."""
    assert len({template(way[0], task, way[1]) for task in TASKS}) == 4
    for task in TASKS:
        text = template(way[0], task, way[1])
        assert ("video" in text or "frame" in text) == task.is_video
        assert ("Reasoning" in text) == task.is_reasoning and ("Referring" in text) != task.is_reasoning


def test_the_answer_is_a_parameter():
    assert template("paper", Task.RES, "image_first", answer="Sure.").endswith(" ASSISTANT: Sure.<seg>")


def test_what_has_no_template():
    with pytest.raises(ValueError, match="chat_template"):
        template("paper", Task.CHAT, "image_first")
    with pytest.raises(ValueError, match="block_order='released'"):
        template("released", Task.RES, "image_first")


@pytest.mark.parametrize("prompt_set", ["paper", "released"])
def test_conversation(prompt_set):
    text = chat_template(prompt_set)
    assert PLACEHOLDERS.findall(text) == ["<image>", "<refer>"] and text.endswith("ASSISTANT:")
    assert text.startswith(RELEASED_SYSTEM) == (prompt_set == "released")


def test_split_keeps_everything():
    text = template("paper", Task.RVOS, "image_first")
    assert "".join(split_placeholders(text)) == text and all(split_placeholders(text))
    assert Counter(split_placeholders("<seg><seg> a")) == Counter(["<seg>", "<seg>", " a"])


@pytest.mark.parametrize("prompt_set, expected", [("paper", " the red dog"), ("released", "the red dog")])
def test_instructions_are_tidied(prompt_set, expected):
    assert format_instruction("  the\n red\t dog ", prompt_set) == expected


@pytest.mark.parametrize(
    "instruction, task",
    [
        ("the dog on the left", Task.RES),
        ("Dog", Task.RES),
        ("where is the cup", Task.RES),
        ("Where is the cup?", Task.RES),
        ("the thing that can fly", Task.RES),
        ("what can be used to tell the time?", Task.REASON_SEG),
        ("  Which one is the oldest", Task.REASON_SEG),
        ("where could I sit down?", Task.REASON_SEG),
        ("what I need when it rains", Task.REASON_SEG),
        ("is there a dog", Task.REASON_SEG),
        ("if it rains, what keeps me dry", Task.REASON_SEG),
        ("island in the sea", Task.RES),
        ("candle", Task.RES),
        ("whole pizza", Task.RES),
        ("howling wolf", Task.RES),
        (" ".join(["word"] * 16), Task.RES),
        (" ".join(["word"] * 17), Task.REASON_SEG),
        ("", Task.RES),
    ],
)
def test_the_form_tells_the_task(instruction, task):
    assert guess_task(instruction) is task
    assert guess_task(instruction, video=True) is (Task.REASON_VOS if task is Task.REASON_SEG else Task.RVOS)
