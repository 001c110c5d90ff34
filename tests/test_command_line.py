"""The program beside its commands: verbosity, environment variables, stdin, subfolders, completion, colors."""

import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from PIL import Image
from tiny_clips import encode, pictures
from typer.testing import CliRunner

import instructseg
from instructseg.cli import app, main
from instructseg.commands.lean_imports import lean_imports
from instructseg.commands.options import shipped_models
from instructseg.commands.verbosity import LIBRARY, is_quiet, set_verbosity
from instructseg.errors import CheckpointError
from instructseg.inference import hub
from instructseg.inference.checkpoints import SHIPPED, find_checkpoint
from instructseg.media.sources import expand_sources
from instructseg.training.logging.progress import progress_bar

SOURCE = str(Path(instructseg.__file__).parents[1])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_model.saved(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def one_test_of_logging():
    """Handlers and levels of the test itself, not of the tests after it."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    LIBRARY.setLevel(logging.NOTSET)


@pytest.fixture
def run(weights, tmp_path, monkeypatch):
    """Run `segment` in an empty folder on a tiny model, with bytes on stdin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSTRUCTSEG_MODEL", weights)
    monkeypatch.setenv("INSTRUCTSEG_DEVICE", "cpu")

    def invoke(*words, stdin=b"", before=()):
        return CliRunner().invoke(app, [*before, "segment", *words], input=stdin, catch_exceptions=False)

    return invoke


def png(value=9, size=(40, 30)):
    Image.new("RGB", size, (value, value, value)).save("photo.png")
    data = Path("photo.png").read_bytes()
    Path("photo.png").unlink()
    return data


def written(folder="instructseg-output"):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_photo_on_stdin(run):
    for value in (9, 200):
        done = run("-", "the dog", "--json", "-o", "out", "--threshold", "0", stdin=png(value))
        (found,) = json.loads(done.stdout)["results"]
        assert (done.exit_code, found["photo"], found["source"]) == (0, "stdin", "stdin")
    assert [name for name in written("out") if name.endswith(".json")] == ["stdin.the-dog-2.json", "stdin.the-dog.json"]


def test_clips_on_stdin(run):
    stems = []
    for seconds in (8, 9):
        encode(Path("walk.mp4"), pictures(seconds))
        done = run("-", "the dog", "--json", "-o", "out", stdin=Path("walk.mp4").read_bytes())
        (found,) = json.loads(done.stdout)["results"]
        assert done.exit_code == 0 and found["clip"] == "stdin" and len(found["frames"]) == seconds
        assert found["files"]["overlay"]
        stems.append(Path(found["files"]["json"]).stem)
    assert len({*stems}) == 2 and all(stem.startswith("stdin-") for stem in stems)


WRONG_STDIN = {
    "empty": ([], b"", "expected a photo or a clip on stdin for -, got nothing; pipe one in"),
    "no photo": ([], b"no photo", "error: stdin "),
    "frames": (["--frames"], b"x", "expected files for --frames, got stdin; save the photos"),
    "format": (["--format", "coco"], b"x", "expected files for --format, got stdin; save the photos"),
}


@pytest.mark.parametrize("options, data, message", WRONG_STDIN.values(), ids=WRONG_STDIN)
def test_what_stdin_cannot_be(run, options, data, message):
    done = run("-", "the dog", *options, stdin=data)
    assert done.exit_code == 1 and message in done.stderr and "instructseg-" not in done.stderr


def test_a_terminal_is_not_read(run, monkeypatch):
    from instructseg.commands import stdin

    terminal = types.SimpleNamespace(stdin=types.SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(stdin, "sys", terminal)
    done = run("-", "the dog")
    assert done.exit_code == 1 and "on stdin for -, got a terminal" in done.stderr


def test_subfolders_on_request(tmp_path):
    for name in ("a.png", "one/b.png", "one/two/c.png", "results/d.png", ".hidden/e.png", "one/c.overlay.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    names = lambda *options: [str(p.relative_to(tmp_path)) for p in expand_sources(str(tmp_path), *options).paths]  # noqa: E731
    assert names() == ["a.png"]
    assert names(True, tmp_path / "results") == ["a.png", "one/b.png", "one/two/c.png"]


def test_recursive_of_the_command(run):
    Path("photos/one").mkdir(parents=True)
    for name in ("photos/a.png", "photos/one/b.png"):
        Path(name).write_bytes(png(len(name)))
    for _ in range(2):  # the second time, the results are there
        done = run("photos", "dog", "-r", "-o", "photos/results", "--json")
        assert [each["photo"] for each in json.loads(done.stdout)["results"]] == ["photos/a.png", "photos/one/b.png"]
    done = run("photos", "dog", "-r", "--frames")
    assert done.exit_code == 1 and "leave one of them out" in done.stderr


def test_verbose_logs_and_quiet_prints_errors_only(run):
    Path("photos").mkdir()
    for name in ("a", "b"):
        Path(f"photos/{name}.png").write_bytes(png())
    Path("photos/c.mp4").write_bytes(b"no clip")
    logging.getLogger().handlers.clear()  # pytest's, with which `basicConfig` would do nothing
    normal, info, detail, quiet = (run("photos", "dog", before=words) for words in ([], ["-v"], ["-vv"], ["-q"]))
    assert "2/2" in normal.stderr and "its clips are skipped" in normal.stderr and " INFO " not in normal.stderr
    assert "INFO instructseg.inference.loading loaded " in info.stderr and "DEBUG" not in info.stderr
    assert "photos/a.png: 'dog': " in detail.stderr and " DEBUG instructseg.inference" in detail.stderr
    assert quiet.stderr == "" and quiet.stdout == normal.stdout
    failed = run("photos", "", before=["-q"])
    assert failed.exit_code == 1 and failed.stderr.startswith("error: ")
    both = run("photos", "dog", before=["-q", "-v"])
    assert both.exit_code == 2 and "expected one of --verbose and --quiet, got both" in both.stderr


def test_quiet_reaches_the_training():
    assert not progress_bar().disable and not is_quiet()
    set_verbosity(0, quiet=True)
    assert progress_bar().disable and is_quiet()


@pytest.mark.parametrize("words", [["-q", "-x"], ["version", "--quiet"]])
def test_general_options_may_follow_the_command(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["instructseg", *words])
    monkeypatch.setattr(lean_imports, "allowed", False)  # `main` sets it for the rest of its process
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == (2 if "-x" in words else 0) and is_quiet() == ("version" in words)


def test_the_library_prints_nothing_of_its_own():
    program = "import logging, instructseg; logging.getLogger('instructseg.x').error('nothing to see')"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": SOURCE}, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_option_wins_over_its_variable(run, monkeypatch, weights):
    Path("a.png").write_bytes(png())
    monkeypatch.setenv("INSTRUCTSEG_MODEL", "none/such")
    assert "none" in run("a.png", "dog").stderr
    assert run("a.png", "dog", "--model", weights).exit_code == 0
    monkeypatch.setenv("INSTRUCTSEG_DEVICE", "toaster")
    assert "toaster" in run("a.png", "dog", "--model", weights).stderr
    monkeypatch.setenv("INSTRUCTSEG_DEVICE", "")
    assert run("a.png", "dog", "--model", weights).exit_code == 0


def test_the_cache_variable(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr("instructseg.inference.checkpoints.local_folder", lambda name, options: given.append(options))
    for folder, expected in ((str(tmp_path), tmp_path), ("", None)):
        monkeypatch.setenv(hub.CACHE_VARIABLE, folder)
        find_checkpoint("me/model")
        assert given[-1]["cache_dir"] == expected
    find_checkpoint("me/model", cache_dir="/elsewhere")
    assert given[-1]["cache_dir"] == "/elsewhere"
    monkeypatch.setenv(hub.CACHE_VARIABLE, str(tmp_path))
    assert hub.converted_folder("weic22/InstructSeg").parent == tmp_path
    with pytest.raises(CheckpointError, match="not found"):
        find_checkpoint("no-model")


def complete(words, index):
    """What the completion script of bash prints."""
    environment = {
        **os.environ, "PYTHONPATH": SOURCE, "_INSTRUCTSEG_COMPLETE": "complete_bash", "COMP_WORDS": words,
        "COMP_CWORD": str(index),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "instructseg"], env=environment, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "words, expected",
    [
        ("instructseg seg", ["segment"]),
        ("instructseg segment a.png dog --model n", ["nano"]),
        ("instructseg segment a.png dog --device cu", ["cuda"]),
        ("instructseg segment a.png dog --linking o", ["offline", "off"]),
    ],
)
def test_completion(words, expected):
    assert complete(words, len(words.split()) - 1) == expected


def test_completion_of_models():
    assert shipped_models() == list(SHIPPED)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", [False, True])
def test_no_color(no_color, tmp_path):
    """A progress bar at a terminal has colors, unless NO_COLOR is set."""
    import pty

    program = (
        "from instructseg.commands.segment import _progress_bar\n"
        "with _progress_bar(False) as bar: bar.add_task('x', total=2)"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE, "TERM": "xterm-256color"} | (
        {"NO_COLOR": "1"} if no_color else {}
    )
    leader, follower = pty.openpty()
    subprocess.run([sys.executable, "-c", program], env=environment, stderr=follower, check=True)
    os.close(follower)
    shown = os.read(leader, 100_000)
    os.close(leader)
    assert b"x" in shown and (b"\x1b[38;5;" in shown) != no_color
