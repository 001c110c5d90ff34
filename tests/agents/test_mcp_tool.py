"""`instructseg mcp` through the real client: over stdio with nano, and in memory with predictions made by hand."""

import asyncio
import base64
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mcp", reason="needs the extra mcp")
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from instructseg import InputError, Prediction, Segmenter, Task
from instructseg.agents.description import OVERLAY_SIDE, describe, overlay_jpeg, to_words
from instructseg.agents.photo_folder import PhotoFolder
from instructseg.agents.server import create_server

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
SOURCE = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}
CALLS = {
    "found": {"image": "camera.jpg", "instruction": "the man"},
    "absolute": {"image": str(EXAMPLES / "coffee.jpg"), "instruction": "the cup"},
    "out": {"image": "../README.md", "instruction": "the man"},
    "no photo": {"image": "README.md", "instruction": "the man"},
    "blank": {"image": "camera.jpg", "instruction": " "},
    "long": {"image": "camera.jpg", "instruction": "man " * 3000},
    "missing argument": {"image": "camera.jpg"},
    "again": {"image": "camera.jpg", "instruction": "the man"},
}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "instructseg", "mcp", *words]


@pytest.fixture(scope="module")
def session():
    """The tools of a real server process that serves examples/ with nano, and its results of CALLS."""
    program, *words = command(str(EXAMPLES))

    async def talk():
        parameters = StdioServerParameters(command=program, args=words, env=SOURCE)
        async with Client(stdio_client(parameters)) as client:
            tools = (await client.list_tools()).tools
            return tools, {name: await client.call_tool("segment", call) for name, call in CALLS.items()}

    return asyncio.run(asyncio.wait_for(talk(), 120))


@pytest.fixture(scope="module")
def nano():
    return Segmenter.load("nano")


@pytest.mark.slow
def test_the_tool_is_described(session):
    (tool,), _ = session
    assert tool.name == "segment"
    assert set(tool.input_schema["properties"]) == set(tool.input_schema["required"]) == {"image", "instruction"}
    assert all(entry["description"] for entry in tool.input_schema["properties"].values())
    assert str(EXAMPLES) in tool.description
    assert tool.annotations.read_only_hint


@pytest.mark.slow
@pytest.mark.parametrize("name, image, instruction", [("found", "camera.jpg", "the man"),
                                                      ("absolute", "coffee.jpg", "the cup")])  # fmt: skip
def test_numbers_words_and_overlay_are_those_of_the_library(session, nano, name, image, instruction):
    result = session[1][name]
    expected = nano.segment(EXAMPLES / image, instruction)
    assert not result.is_error and expected.found
    answer = result.structured_content
    assert answer["image"] == image and answer["instruction"] == instruction and answer["found"]
    assert [answer["height"], answer["width"]] == list(expected.size)
    first = answer["objects"][0]
    assert first["score"] == pytest.approx(float(expected.scores[0]), abs=1e-3)
    assert first["area"] == pytest.approx(int(expected.masks[0].sum()), rel=1e-3)
    assert first["box"] == pytest.approx(expected.boxes[0].tolist(), abs=2)
    words, overlay = result.content
    assert f"score {first['score']:.2f}" in words.text and f"area {first['area']:,} pixels" in words.text
    assert overlay.mime_type == "image/jpeg"
    picture = Image.open(io.BytesIO(base64.b64decode(overlay.data)))
    assert max(picture.size) <= OVERLAY_SIDE
    photo = Image.open(EXAMPLES / image).convert("RGB").resize(picture.size)
    inside = np.asarray(Image.fromarray(expected.mask).resize(picture.size))
    change = np.abs(np.asarray(picture, int) - np.asarray(photo, int)).mean(axis=2)
    assert change[inside].mean() > 5 * change[~inside].mean()


@pytest.mark.slow
def test_the_same_question_gives_the_same_answer(session):
    assert session[1]["again"].structured_content == session[1]["found"].structured_content


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, message",
    [
        ("out", "leads out of it"),
        ("no photo", "not a readable image"),
        ("blank", "empty"),
        ("long", "tokens"),
        ("missing argument", "instruction"),
    ],
)
def test_errors_in_words_and_the_server_goes_on(session, name, message):
    result = session[1][name]
    assert result.is_error
    assert re.search(message, result.content[0].text)
    assert "Traceback" not in result.content[0].text
    assert list(CALLS)[-1] == "again"  # answered after all of these


def test_a_missing_folder_is_one_line(tmp_path):
    done = subprocess.run(command("missing"), cwd=tmp_path, env=SOURCE, capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: expected a folder with photos, got missing: No such file or directory\n"


# In memory, with a segmenter that answers what a test says.


class Asked:
    """Stands for a segmenter and its sessions; counts how often a photo is opened."""

    def __init__(self, answer):
        self.answer, self.opened = answer, 0

    def open(self, path):
        self.opened += 1
        return self

    def segment(self, instruction):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def prediction(*boxes: tuple[int, int, int, int], size: tuple[int, int] = (90, 120)) -> Prediction:
    masks = np.zeros((len(boxes), *size), dtype=bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Prediction(np.zeros((*size, 3), np.uint8), "the dog", Task.RES, masks, scores)


@pytest.fixture
def ask(tmp_path):
    """Calls the tool about photo.jpg on a server in this process."""
    (tmp_path / "photo.jpg").write_bytes(b"never decoded here")

    def call(segmenter, times: int = 1, between=lambda: None):
        async def talk():
            async with Client(create_server(segmenter, PhotoFolder(tmp_path))) as client:
                results = []
                for _ in range(times):
                    results.append(await client.call_tool("segment", {"image": "photo.jpg", "instruction": "the dog"}))
                    between()
                return results[-1]

        return asyncio.run(talk())

    return call


def test_a_photo_is_encoded_once_until_its_file_changes(ask, tmp_path):
    segmenter = Asked(prediction((0, 0, 9, 9)))
    ask(segmenter, times=3)
    assert segmenter.opened == 1
    ask(segmenter, times=3, between=lambda: (tmp_path / "photo.jpg").open("ab").write(b"changed"))
    assert segmenter.opened == 4


def test_no_target_is_said(ask):
    result = ask(Asked(prediction()))
    assert not result.is_error
    expected = 'No target: the model found nothing in photo.jpg (120 x 90 pixels) that fits "the dog".'
    assert result.content[0].text == expected
    assert result.structured_content["found"] is False and result.structured_content["objects"] == []


def test_errors_of_users_are_repeated_and_others_are_not(ask):
    assert "expected a photo" in ask(Asked(InputError("expected a photo, got soup"))).content[0].text
    hidden = ask(Asked(RuntimeError("/somewhere/private")))
    assert hidden.is_error and "private" not in hidden.content[0].text


def test_words():
    found = prediction((0, 0, 30, 20), (50, 35, 70, 55), (119, 89, 120, 90))
    assert to_words(describe("photo.jpg", found)).splitlines() == [
        '3 objects for "the dog" in photo.jpg (120 x 90 pixels):',
        "1. score 0.90, top left; box from x 0, y 0 to x 30, y 20; area 600 pixels, 5.6 % of the photo",
        "2. score 0.70, center; box from x 50, y 35 to x 70, y 55; area 400 pixels, 3.7 % of the photo",
        "3. score 0.50, bottom right; box from x 119, y 89 to x 120, y 90; area 1 pixels, less than 0.1 % of the photo",
    ]


def test_empty_masks_are_no_objects():
    assert describe("photo.jpg", prediction((0, 0, 0, 0))).objects == []


def test_large_overlays_are_shrunk_and_small_ones_are_not():
    large = Image.open(io.BytesIO(overlay_jpeg(prediction((0, 0, 900, 900), size=(1500, 3000)))))
    assert large.size == (1024, 512)
    small = Image.open(io.BytesIO(overlay_jpeg(prediction((0, 0, 9, 9)))))
    assert small.size == (120, 90)
