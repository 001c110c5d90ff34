"""The program at a terminal: letters it lacks, closed streams, closed pipes, Ctrl-C, and errors nobody foresaw."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

import instructseg
from instructseg.cli import app
from instructseg.commands import report
from instructseg.errors import InputError
from instructseg.training.training_step import memory_errors

SOURCE = str(Path(instructseg.__file__).parents[1])
# The program with a command that stands for any other: what a command prints and raises is all that matters here.
PROGRAM = """
import os, signal, sys, time
import typer
from instructseg.commands.report import errors_in_one_line, say
from instructseg import cli

@cli.app.command()
def try_out(kind: str) -> None:
    with errors_in_one_line():
        if kind == "print":
            typer.echo("杯子 the cup"); say("错误")
        elif kind == "much":
            while True: typer.echo("x" * 1000)
        elif kind == "wait":
            print("ready", flush=True); time.sleep(60)
        elif kind == "descriptor":
            file = open("written.txt", "w"); typer.echo("to stdout"); os.write(1, b"to 1")
            print(file.fileno(), file=file)
        elif kind == "number":
            1 / 0
        elif kind == "warn":
            import warnings
            from instructseg.commands import report
            warnings.warn_explicit("two\\nlines", UserWarning, report.__file__, 1)
            warnings.warn_explicit("another", UserWarning, "other.py", 1)
cli.main()
"""


def command(*arguments):
    return [sys.executable, "-c", PROGRAM, *arguments]


def environment(**changes):
    return {**os.environ, "PYTHONPATH": SOURCE, **changes}


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "utf-8"])
def test_letters_that_the_terminal_lacks_are_escaped(encoding):
    done = subprocess.run(command("try-out", "print"), env=environment(PYTHONIOENCODING=encoding), capture_output=True)
    shown = "杯子" if encoding == "utf-8" else r"\u676f\u5b50"
    assert done.returncode == 0 and done.stdout.decode(encoding).split() == [shown, "the", "cup"]
    assert done.stderr.decode(encoding).strip() == ("错误" if encoding == "utf-8" else r"\u9519\u8bef")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells only")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_reach_into_files(closed, tmp_path):
    line = f'exec "$@" {closed}'
    done = subprocess.run(["sh", "-c", line, "sh", *command("try-out", "descriptor")], env=environment(), cwd=tmp_path)
    assert done.returncode == 0
    assert int((tmp_path / "written.txt").read_text()) > 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes only")
def test_a_pipe_that_closes_is_no_error():
    process = subprocess.Popen(
        command("try-out", "much"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == 1


def test_a_warning_of_the_package_is_one_line():
    done = subprocess.run(command("try-out", "warn"), env=environment(), capture_output=True, text=True)
    first, second = done.stderr.splitlines()[:2]
    assert done.returncode == 0 and first == "warning: two lines" and second == "other.py:1: UserWarning: another"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals only")
def test_ctrl_c_is_one_word():
    process = subprocess.Popen(
        command("try-out", "wait"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == b"interrupted\n" and process.returncode == 130


@pytest.mark.parametrize(
    "words", [["try-out", "number", "--debug"], ["--debug", "try-out", "number"], ["try-out", "number"]]
)
def test_an_error_nobody_foresaw_is_one_line_that_asks_for_a_report(words):
    done = subprocess.run(command(*words), env=environment(), capture_output=True, text=True)
    *trace, line = done.stderr.splitlines()
    assert done.returncode == 1 and done.stdout == ""
    assert line.startswith("error: unexpected ZeroDivisionError: division by zero; please report this, with: ")
    assert f"instructseg {instructseg.__version__}, torch " in line and f"Python {sys.version.split()[0]}" in line
    assert bool(trace) == ("--debug" in words) == any("Traceback" in text for text in trace)
    assert line.endswith("; --debug prints the traceback") != bool(trace)


ERRORS = {
    "of the system": (PermissionError(13, "Permission denied", "a/b"), "error: Permission denied: a/b"),
    "of memory": (MemoryError(), "error: out of memory; use a smaller input or close other programs"),
    "with line breaks": (KeyError("a\nb"), "error: unexpected KeyError: 'a\\nb'; please report this, with: "),
    "recursion": (RecursionError("maximum recursion depth exceeded"), "error: unexpected RecursionError: maximum"),
}


@pytest.mark.parametrize("error, line", ERRORS.values(), ids=ERRORS)
def test_errors_of_every_kind(error, line, capsys):
    with pytest.raises(typer.Exit) as end, report.errors_in_one_line():
        raise error
    shown = capsys.readouterr().err
    assert end.value.exit_code == 1 and shown.startswith(line) and shown.count("\n") == 1


@pytest.mark.parametrize("end", [typer.Exit(3), typer.Abort(), typer.BadParameter("no"), BrokenPipeError()])
def test_what_typer_handles_passes(end):
    with pytest.raises(type(end)), report.errors_in_one_line():
        raise end


def test_debug_is_off_unless_asked_for():
    for words, shown in ((["--debug", "version"], True), (["version"], False)):
        assert CliRunner().invoke(app, words).exit_code == 0 and report.tracebacks.shown is shown


def test_a_full_gpu_is_one_line(capsys):
    """Of any command, and of a training with its own settings."""
    with pytest.raises(typer.Exit), report.errors_in_one_line():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")
    assert capsys.readouterr().err.startswith("error: the GPU's memory is full; use a smaller input")
    with pytest.raises(InputError, match="memory is full at step 3; raise accumulate"), memory_errors(3):
        raise torch.OutOfMemoryError
