"""Snippets of the documentation: Python runs as printed, commands parse as the program parses them, and those of the
user's first pages run. One tiny model with random weights stands where a page loads a model."""

import ast
import importlib.util
import json
import re
import shlex
import sys
import tomllib
import types
from functools import cache
from pathlib import Path

import pytest
import tiny_clips
import tiny_model
import typer
from PIL import Image
from typer.testing import CliRunner

from instructseg import Segmenter
from instructseg.bulk.api import run_batch
from instructseg.cli import app

UsageError = typer.BadParameter.__bases__[0]  # of the click that typer brings along
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
TESTED = {"README.md": "test_readme.py", "3b.md": "test_3b_guide.py", "serve.md": "test_serve_http.py"}
MENTIONED = {"annotation_tools.md": "FiftyOne needs an environment of its own"}
COMMANDS_THAT_RUN = ("quickstart.md", "instructions.md", "photos.md", "clips.md")
OTHER_PROGRAMS = ("python3 -m venv", "hf download", "docker ", "curl ", "ray start", "cvat-cli ", "list=$(", "source ")


def text_of(page):
    return page.read_text(encoding="utf-8")


def fenced(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


def with_python():
    return [page for page in PAGES if fenced(page, "python")]


def command_lines(page):
    """Lines of shell blocks, and lines of indented blocks that call the program; continued lines are joined."""
    body = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^    (?:\$ )?((?:instructseg|torchrun|accelerate) (?:.*\\\n)*.*)", body, re.MULTILINE)
    lines = "\n".join([*fenced(page, "bash"), *indented]).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No test writes into the home folder of whoever runs it."""
    monkeypatch.setenv("HOME", str(tmp_path))


@cache
def program():
    return typer.main.get_command(app)


def check_command(words):
    """Raises UsageError where the program would. Nothing runs: options that act while parsed are only looked up."""
    command = program()
    acting = {name for option in command.params if option.callback for name in option.opts}
    if acting & set(words):
        return
    while True:
        context = command.make_context(words[0], words[1:], ignore_unknown_options=False)
        if not getattr(command, "commands", None):
            return
        words = [*context._protected_args, *context.args]
        assert words and words[0] in command.commands, f"expected one of {sorted(command.commands)}, got {words[:1]}"
        command = command.commands[words[0]]


def check_line(line):
    """A line of a shell block is one of the program, of this repository, or of a program that is listed above."""
    line = line.split(" && ")[0].removeprefix(".venv/bin/")
    words = shlex.split(line.split(" | ")[0], comments=True)
    if "instructseg" in words and words[0] in ("instructseg", "torchrun", "accelerate"):
        return check_command(words[words.index("instructseg") :])
    if words[:2] == ["pip", "install"]:
        named = re.findall(r"(?:instructseg|\.)\[([\w,]+)\]", line)
        return [EXTRAS[extra] for group in named for extra in group.split(",")]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        return None
    if words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), line
        return None
    if words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if word.startswith("tests")), line
        return None
    known = words[:2] == ["python", "-c"] or line.startswith(OTHER_PROGRAMS)
    assert known, f"{line!r} is neither checked nor listed in OTHER_PROGRAMS"


@pytest.mark.parametrize("page", [page for page in PAGES if command_lines(page)], ids=lambda page: page.name)
def test_every_command_is_one_that_the_program_takes(page):
    for line in command_lines(page):
        try:
            check_line(line)
        except (UsageError, typer.Exit, KeyError) as error:
            if not (isinstance(error, typer.Exit) and error.exit_code == 0):
                pytest.fail(f"{page.name}: {line}\n{type(error).__name__}: {getattr(error, 'message', error)}")


def test_a_wrong_command_is_found():
    for words in (["segment", "a.jpg", "the cup", "--thresold", "0"], ["data", "chek"], ["segmnt"], ["segment"]):
        with pytest.raises((UsageError, AssertionError)):
            check_command(["instructseg", *words])
    with pytest.raises(AssertionError):
        check_line("frobnicate --now")


@pytest.fixture(scope="module")
def tiny():
    """The tiny model, which finds something for every text."""
    return Segmenter(*tiny_model.build(score_threshold=0.0), "tiny")


@pytest.fixture
def reader(tiny, tmp_path, monkeypatch):
    """A folder with what the reader of a page has; loading gives the tiny model."""
    (tmp_path / "examples").mkdir()
    for path in (ROOT / "examples").glob("*.jpg"):
        with Image.open(path) as photo:
            photo.resize((96, 72)).save(tmp_path / "examples" / path.name)
    Image.fromarray(tiny_model.photo()).save(tmp_path / "photo.jpg")
    frames = tiny_clips.pictures(4)
    tiny_clips.encode(tmp_path / "clip.mp4", frames)
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "frames" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Segmenter, "load", lambda *_, **__: tiny)
    return tmp_path


def prepare_transformers(folder, tiny, _monkeypatch):
    for part in (tiny.model, tiny.processor):
        part.save_pretrained(folder / "weights" / "nano")


def prepare_scale(folder, tiny, monkeypatch):
    """Results of a bulk job; where `datasets` is missing, pyarrow reads them in its place."""
    dataset = pytest.importorskip("pyarrow.dataset")
    run_batch("photo.jpg", "results", ["the dog"], workers=0)
    if importlib.util.find_spec("datasets") is None:
        stand_in = types.ModuleType("datasets")
        read = lambda kind, data_dir, split: dataset.dataset(data_dir, format=kind).to_table().to_pylist()  # noqa: E731
        stand_in.load_dataset = read
        monkeypatch.setitem(sys.modules, "datasets", stand_in)


PREPARE = {"transformers.md": prepare_transformers, "scale.md": prepare_scale}


@pytest.mark.parametrize("page", with_python(), ids=lambda page: page.name)
def test_python_runs_as_printed(page, reader, tiny, monkeypatch):
    """All blocks of a page, in their order, in one namespace."""
    if page.name in TESTED:
        (test,) = ROOT.glob(f"tests/*/{TESTED[page.name]}")
        assert page.name in test.read_text()
        return
    snippets = fenced(page, "python")
    if page.name in MENTIONED:
        assert [ast.parse(snippet) for snippet in snippets] and MENTIONED[page.name].split()[0] in text_of(page)
        return
    PREPARE.get(page.name, lambda *_: None)(reader, tiny, monkeypatch)
    names: dict = {}
    for snippet in snippets:
        exec(compile(snippet, page.name, "exec"), names)


@pytest.mark.parametrize("name", COMMANDS_THAT_RUN)
def test_commands_of_the_first_pages_run(name, reader):
    lines = [line for line in command_lines(DOCS / name) if line.startswith("instructseg ")]
    for line in lines:
        done = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception}"
        assert "--json" not in line or json.loads(done.stdout)
    named = re.findall(r"`(out/[\w.-]+)`", text_of(DOCS / name))
    assert lines and [path for path in named if not (reader / path).is_file()] == []


def test_the_notebook_runs_and_has_its_outputs(monkeypatch):
    """Code cells in their order, with the shipped weights; the stored outputs include pictures."""
    path = ROOT / "examples" / "quickstart.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    monkeypatch.chdir(path.parent)
    names: dict = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), path.name, "exec"), names)
    assert names["result"].masks.shape[1:] == (480, 640)
    assert [len(names["answers"]), names["video"].present.shape] == [3, (4, 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 3
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert path.stat().st_size < 300_000 and (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)


def test_the_notebook_is_valid():
    nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
    nbformat.validate(nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4))
