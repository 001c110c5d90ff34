"""Sentences about motion and about places, and every phrase that the composer writes."""

import pytest

from instructseg.inference.video.motion_text import read_motion
from instructseg.synthesis.motion_expressions import _MOTION_PHRASES

DIRECTIONS = {"left", "right", "up", "down", "still"}


@pytest.mark.parametrize(
    ("instruction", "motion"),
    [
        ("The dog that runs LEFT", "left"),
        ("a white bear is running across the ice to the left", "left"),
        ("a penguin swimming from right to left", "left"),
        ("a whale swimming from right to left of the view", "left"),
        ("a camel walking from the right", "left"),
        ("a silver fish swimming all the way to the right", "right"),
        ("a snail on the left of another moving right wards", "right"),
        ("the car driving away to the right", "right"),
        ("which bird flies upwards?", "up"),
        ("a sheep that moves down and comes out of the circle", "down"),
        ("the balloon that rises", "up"),
        ("the people that do not move", "still"),
        ("the car that isn't moving", "still"),
        ("the dog that stays in place", "still"),
        ("the person standing still", "still"),
        ("the cars that are not in motion", "still"),
        ("the ball falling", "down"),
    ],
)
def test_motion(instruction, motion):
    assert read_motion(instruction) == motion


@pytest.mark.parametrize(
    "instruction",
    [
        "the dog on the left",
        "the dog",
        "",
        "the man walking on the right",
        "a brown fox walking on the left of another fox",
        "a horse running to the left of another horse",
        "a dolphin swimming on the right hand side of a female swimmer",
        "the running dog to the left",
        "the dog walking next to the right car",
        "a green lizard is moving along the sand looking to the left",
        "a zebra walking with its head down",
        "a person riding a bike down the street",
        "a fish moving up and down",
        "the man that is not running to the left",
        "a black car that is not moving away from the camera",
        "the dog that moves",
        "the left shoe",
        "a gray goose walking second from the left",
        "the person running right behind the dog",
        "the car moving in the right lane",
        "the man moving his left arm",
    ],
)
def test_no_direction(instruction):
    assert read_motion(instruction) is None


@pytest.mark.parametrize("in_plural", [False, True])
@pytest.mark.parametrize("phrases", _MOTION_PHRASES, ids=lambda phrases: phrases.motion)
def test_phrases_of_composed_clips(phrases, in_plural):
    wanted = phrases.motion if phrases.motion in DIRECTIONS else None
    for phrase in phrases.agreeing(in_plural):
        assert read_motion(f"the dog {phrase.replace('{picture}', 'video')}") == wanted
