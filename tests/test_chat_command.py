"""`instructseg chat` and `segment --explain`: answers on stdout, warnings and errors in one line on stderr."""

import json

import numpy as np
import pytest
import tiny_model
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    for name, writes in (("tiny", True), ("mute", None)):
        model, processor = tiny_model.build(writes_text=writes)
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    Image.fromarray(tiny_model.photo()).save(folder / "photo.png")
    return folder


def run(files, *arguments, model="tiny", stdin=None):
    command = [*arguments, "--model", str(files / model), "--device", "cpu", "-o", str(files / "out")]
    return CliRunner().invoke(app, command, input=stdin)


def test_questions_are_answered_in_turn(files):
    photo = str(files / "photo.png")
    done = run(files, "chat", photo, "what is the dog on", "which cup ?", "--max-tokens", "5")
    assert done.exit_code == 0 and done.stdout.count("\n") == 2 and not done.stderr
    piped = run(files, "chat", photo, "--max-tokens", "5", stdin="what is the dog on\n\nwhich cup ?\n/quit\nnot read\n")
    assert piped.stdout == done.stdout


def test_a_mask_belongs_to_its_words(files):
    done = run(files, "chat", str(files / "photo.png"), "/mask what can fly ?", "--max-tokens", "3")
    assert done.exit_code == 0, done.output
    words, where = done.stdout.splitlines()
    saved = json.loads((files / "out" / "photo.what-can-fly.json").read_text())
    assert saved["explanation"] == words and ("mask with score" in where or "no target" in where)
    assert np.asarray(Image.open(where.split("-> ")[1])).size
    assert "note: the text ended without [SEG]" in done.stderr


def test_a_question_that_cannot_be_asked_does_not_end_the_talk(files):
    lines = f"{'word ' * 600}\n/nonsense\n/new\nwhat ?\n/mask\n"
    done = run(files, "chat", str(files / "photo.png"), "--max-tokens", "2", stdin=lines)
    assert done.exit_code == 1 and done.stdout.count("\n") == 1
    assert [line[:16] for line in done.stderr.splitlines()] == ["error: expected "] * 3
    missing = run(files, "chat", str(files / "none.png"))
    assert missing.exit_code == 1 and missing.stderr.count("\n") == 1 and "does not exist" in missing.stderr


def test_segment_explains(files):
    done = run(files, "segment", str(files / "photo.png"), "what can fly ?", "--explain", "--json")
    (result,) = json.loads(done.stdout)["results"]
    assert result["explanation"] and result["trained_to_write"] is True
    shown = run(files, "segment", str(files / "photo.png"), "what can fly ?", "--explain")
    assert result["explanation"] in " ".join(shown.stdout.split())
    clip = run(files, "segment", str(files), "the dog", "--frames", "--explain")
    assert clip.exit_code == 1 and "--explain is for photos only" in clip.stderr


@pytest.mark.parametrize("command", [["chat", "PHOTO", "what ?"], ["segment", "PHOTO", "what ?", "--explain"]])
def test_a_model_that_never_learned_to_write_says_so(files, command):
    arguments = [str(files / "photo.png") if word == "PHOTO" else word for word in command]
    with pytest.warns(UserWarning, match="mute was not trained to write text, so its words mean nothing"):
        run(files, *arguments, model="mute")
