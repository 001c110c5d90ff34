"""The command line, with a fake segmenter in the process, and as a program."""

import json
import os
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import instructseg
from instructseg.cli import app
from instructseg.errors import CheckpointError, InputError, RecipeError
from instructseg.inference import photo_batches
from instructseg.inference.prediction import Prediction
from instructseg.media.image import load_image
from instructseg.media.masks import rle_to_mask
from instructseg.types import Task


@dataclass
class FakeSession:
    image: np.ndarray
    source: str
    asked: list

    def segment(self, text, task=None, max_masks=None, threshold=None) -> Prediction | list[Prediction]:
        if isinstance(text, list):
            return [self.segment(each, task, max_masks, threshold) for each in text]
        self.asked.append((Path(self.source).name, text, task, max_masks, threshold))
        if not text.strip():
            raise InputError("the instruction is empty; give a sentence")
        if len(text.split()) > 200:
            raise InputError(f"the instruction has {len(text.split())} words; at most 200 fit")
        if text == "stop" and not self.source.endswith("a.png"):
            raise KeyboardInterrupt
        masks = np.zeros((0 if text == "nothing" else max_masks or 1, *self.image.shape[:2]), bool)
        masks[:, 2:6, 2:8] = True
        scores = np.linspace(0.9, 0.5, len(masks)).astype(np.float32)
        return Prediction(self.image, text, task or Task.RES, masks, scores, self.source, "fake")


@dataclass
class FakeSegmenter:
    """Stands where `Segmenter` stands; remembers how it was loaded and what it was asked."""

    loaded: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    model: None = None
    processor: None = None
    per_batch: int = 2

    def load(self, model, device, dtype, revision=None) -> "FakeSegmenter":
        if model == "none":
            raise CheckpointError("weights 'none' cannot be found;\n give a folder")
        print("a library that prints")
        self.loaded.append((model, device, dtype))
        return self

    def open(self, image) -> FakeSession:
        return FakeSession(load_image(image), str(image), self.asked)


@pytest.fixture
def fake(monkeypatch) -> FakeSegmenter:
    segmenter = FakeSegmenter()
    module = types.ModuleType("instructseg.inference.segmenter")
    module.Segmenter = segmenter
    monkeypatch.setitem(sys.modules, "instructseg.inference.segmenter", module)
    monkeypatch.setattr(photo_batches, "photos_per_batch", lambda *_: segmenter.per_batch)
    one_by_one = lambda sessions, *rest: [each.segment(*rest) for each in sessions]  # noqa: E731
    monkeypatch.setattr(photo_batches, "segment_photos", one_by_one)
    return segmenter


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """The current folder: photos/a.png, photos/b.jpg, photos/broken.png and walk.png."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("photos/a.png", "photos/b.jpg", "walk.png"):
        Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / name)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no photo")
    return tmp_path


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def written(folder: str = "instructseg-output") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_one_photo_two_sentences(photos, fake):
    result = run("segment", "walk.png", "the dog", "nothing")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first.startswith("walk.png: 'the dog': 1 mask with score 0.90 on 2.0% of the photo -> ")
    assert second.startswith("walk.png: 'nothing': no target -> ")
    assert written() == [
        f"walk.{slug}.{end}" for slug in ("nothing", "the-dog") for end in ("json", "mask.png", "overlay.png")
    ]
    assert all(Path(line.split(" -> ")[1]).is_file() for line in (first, second))
    assert fake.loaded == [("nano", "auto", "auto")]
    assert fake.asked == [("walk.png", "the dog", None, None, None), ("walk.png", "nothing", None, None, None)]


def test_options_arrive(photos, fake):
    options = "--task reason_seg --max-masks 3 --threshold 0.25 --model my/weights --device cuda:1 --dtype float16"
    assert run("segment", "walk.png", "what barks", "-o", "my results", *options.split()).exit_code == 0
    assert fake.loaded == [("my/weights", "cuda:1", "float16")]
    assert fake.asked == [("walk.png", "what barks", Task.REASON_SEG, 3, 0.25)]
    assert Image.open("my results/walk.what-barks.mask.png").mode == "P"


@pytest.mark.parametrize("saved", [False, True])
def test_json_is_all_there_is_on_stdout(photos, fake, saved):
    where = ["-o", "out"] if saved else []
    result = run("segment", "walk.png", "the dog", "", "--json", *where)
    answer = json.loads(result.stdout)
    (found,), (error,) = answer["results"], answer["errors"]
    assert rle_to_mask(found["objects"][0]["segmentation"]).sum() == 24
    assert (found["photo"], found["instruction"], found["found"]) == ("walk.png", "the dog", True)
    assert (error["photo"], error["instruction"]) == ("walk.png", "") and "is empty" in error["message"]
    assert "a library that prints" in result.stderr and "error: '': the instruction is empty" in result.stderr
    assert result.exit_code == 1
    if saved:
        assert set(written("out")) == {Path(path).name for path in found["files"].values()}
    else:
        assert found["files"] is None and sorted(os.listdir()) == ["empty", "photos", "walk.png"]


@pytest.mark.parametrize("source, names", [("photos", "ab"), ("photos/*", "ab"), ("photos/?.jpg", "b")])
def test_folders_and_patterns(photos, fake, source, names):
    result = run("segment", source, "dog", "cat")
    broken = source != "photos/?.jpg"
    assert result.exit_code == int(broken)
    assert ("error: photos/broken.png is not a readable image" in result.stderr) == broken
    ends = ("json", "mask.png", "overlay.png")
    assert written() == [f"{name}.{text}.{end}" for name in names for text in ("cat", "dog") for end in ends]


def test_a_bad_sentence_is_told_once_and_the_others_go_on(photos, fake):
    result = run("segment", "photos/[ab].*", "word " * 5000, "dog")
    assert result.exit_code == 1 and len(result.stdout.splitlines()) == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert "5000 words" in line and line.endswith("(2 photos)") and len(line) < 200


def test_the_same_name_in_two_formats(photos, fake):
    Image.new("RGB", (10, 10)).save("photos/a.jpg")
    assert run("segment", "photos/a.*", "dog").exit_code == 0
    assert [name for name in written() if name.endswith("json")] == ["a.dog-2.json", "a.dog.json"]


def test_the_same_name_in_two_folders(photos, fake):
    Path("more").mkdir()
    Image.new("RGB", (10, 10)).save("more/a.png")
    for _ in range(2):
        result = run("segment", "*/a.png", "dog", "--json", "-o", "out")
        answers = {entry["photo"]: entry["files"]["json"] for entry in json.loads(result.stdout)["results"]}
        assert {
            photo: json.loads(Path(file).read_text(encoding="utf-8"))["source"] for photo, file in answers.items()
        } == {
            "more/a.png": "more/a.png",
            "photos/a.png": "photos/a.png",
        }
    assert len(written("out")) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, which refuses everything")
def test_an_output_that_takes_no_more():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = program("segment", "none.jpg", "dog", "--json", stdout=full)
    assert done.returncode == 1 and done.stderr.splitlines() == ["error: No space left on device"]


def test_a_disk_that_is_full_while_saving(photos, fake, monkeypatch):
    """The second photo's files do not fit: the first's stay, nothing of the second is left, and the JSON says so."""
    write, count = Path.write_bytes, []

    def until_full(path: Path, data: bytes) -> int:
        count.append(path)
        if len(count) == 5:
            write(path, data[:10])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    result = run("segment", "photos/[ab].*", "dog", "--json", "-o", "out")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1 and [entry["photo"] for entry in answer["results"]] == ["photos/a.png"]
    (error,) = answer["errors"]
    assert error["photo"] == "photos/b.jpg" and "cannot be written: No space left on device" in error["message"]
    assert written("out") == ["a.dog.json", "a.dog.mask.png", "a.dog.overlay.png"]


def test_running_twice_leaves_the_same_files(photos, fake):
    for _ in range(2):
        assert run("segment", "walk.png", "dog").exit_code == 0
    assert len(written()) == 3


FATAL = {
    "no photo": (["segment", "none.png", "dog"], "error: none.png does not exist"),
    "nothing matches": (["segment", "*.gif", "dog"], "error: *.gif matches no file"),
    "no weights": (["segment", "walk.png", "dog", "--model", "none"], "error: weights 'none' cannot be found; give"),
    "output is a file": (["segment", "walk.png", "dog", "-o", "walk.png"], "error: folder walk.png cannot be created"),
    "output in a file": (
        ["segment", "walk.png", "dog", "-o", "walk.png/x"],
        "error: folder walk.png/x cannot be creat",
    ),
    "no name": (["segment", "", "dog"], "error: expected the path of a photo, got an empty path"),
    "brackets": (["segment", "[p]hoto/*", "dog"], "error: [p]hoto/* matches no file; pass a photo, a folder of phot"),
    "empty folder": (["segment", "empty", "dog"], "error: folder empty has 0 files but no photo; supported exten"),
}


@pytest.mark.parametrize("arguments, message", FATAL.values(), ids=FATAL)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_errors_are_one_line(photos, fake, arguments, message, as_json):
    result = run(*arguments, *as_json)
    assert result.exit_code == 1
    if as_json:
        (error,) = json.loads(result.stdout)["errors"]
        assert error["message"].startswith(message.removeprefix("error: ")) and error["photo"] is None
    else:
        assert result.stdout == ""
    assert [line for line in result.stderr.splitlines() if line][-1].startswith(message)
    assert "Traceback" not in result.stderr


USAGE = {
    "no sentence": ["segment", "walk.png"],
    "no photo": ["segment"],
    "unknown task": ["segment", "walk.png", "dog", "--task", "rvos"],
    "no masks": ["segment", "walk.png", "dog", "--max-masks", "0"],
    "threshold": ["segment", "walk.png", "dog", "--threshold", "1.5"],
    "threshold NaN": ["segment", "walk.png", "dog", "--threshold", "nan"],
    "no output": ["segment", "walk.png", "dog", "-o", ""],
    "unquoted pattern": ["segment", "photos/a.png", "photos/b.jpg", "dog"],
    "unknown option": ["segment", "walk.png", "dog", "--modle", "nano"],
    "unknown command": ["segmant"],
    "no recipe": ["train"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_usage_errors(photos, fake, arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and not result.stdout and "Usage:" in result.stderr
    assert not fake.loaded


def test_unquoted_patterns_are_explained(photos, fake):
    result = run("segment", "photos/a.png", "photos/b.jpg", "dog")
    assert "expected a sentence, got the photo 'photos/b.jpg'" in result.stderr


def test_interruption(photos, fake):
    fake.per_batch = 1
    result = run("segment", "photos/[ab].*", "stop")
    assert result.exit_code == 130 and result.stderr.splitlines()[-1] == "interrupted"
    assert len(written()) == 3


def test_brackets_and_line_breaks_in_names(photos, fake):
    os.rename("walk.png", "[bold]wa\nlk.png")
    result = run("segment", "[bold]wa\nlk.png", "the [red]dog[/red]")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("[bold]wa lk.png: 'the [red]dog[/red]': 1 mask")


@pytest.mark.parametrize("problem", [None, RecipeError("unknown key 'stepz';\ndid you mean steps?")])
def test_train(monkeypatch, problem):
    calls = []

    def train_from_recipe(path: Path, overrides: list[str]) -> None:
        calls.append((path, overrides))
        if problem:
            raise problem

    module = types.ModuleType("instructseg.training.run")
    module.train_from_recipe = train_from_recipe
    monkeypatch.setitem(sys.modules, "instructseg.training.run", module)
    result = run("train", "recipes/nano.yaml", "steps=3", "rate=-1e-4")
    assert calls == [("recipes/nano.yaml", ["steps=3", "rate=-1e-4"])]
    assert result.exit_code == (1 if problem else 0)
    assert result.stderr == ("error: unknown key 'stepz'; did you mean steps?\n" if problem else "")
    assert run("train", "recipes/nano.yaml").exit_code == result.exit_code and calls[-1][1] == []


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (0, f"instructseg {instructseg.__version__}\n")


def program(*arguments: str, stdout: int | IO = subprocess.PIPE) -> subprocess.CompletedProcess:
    source = str(Path(instructseg.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    command = [sys.executable, "-m", "instructseg.cli", *arguments]
    return subprocess.run(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300)


def test_help_of_the_program():
    done = program("--help")
    assert done.returncode == 0 and all(name in done.stdout for name in ("segment", "train", "version"))


def test_version_of_the_program():
    assert program("--version").stdout == f"instructseg {instructseg.__version__}\n"


def test_errors_of_the_program(tmp_path):
    done = program("segment", str(tmp_path / "none.jpg"), "dog", "-o", str(tmp_path))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
