"""Limits of the system, set for real in child processes: one line, exit code 1, and nothing half-written."""

import json
import os
import subprocess
import sys

import psutil
import pytest
import tiny_model
from PIL import Image
from tiny_clips import encode, pictures

from instructseg.inference.segmenter import Segmenter

# Each command runs in a forked child under a limit: (limit's name, its value, arguments). Prints [exit code, stderr].
CHILDREN = """
import json, os, resource, sys
import instructseg.inference.segmenter, instructseg.media.video_writer, torch
from instructseg import cli
torch.set_num_threads(1)
answers = []
for limit, value, arguments in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.dup2(os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open("err.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        resource.setrlimit(getattr(resource, limit), (value, resource.getrlimit(getattr(resource, limit))[1]))
        sys.argv = ["instructseg", *arguments]
        try:
            cli.main()
        except SystemExit as end:
            os._exit(end.code or 0)
        os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    answers.append([code, open("err.txt", encoding="utf-8").read()])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A photo, a clip and a tiny model."""
    folder = tmp_path_factory.mktemp("faults")
    model, processor = tiny_model.build()
    model.save_pretrained(folder / "tiny")
    processor.save_pretrained(folder / "tiny")
    Image.fromarray(tiny_model.photo(60, 80)).save(folder / "photo.png")
    encode(folder / "clip.mp4", pictures(2, 60, 80))
    return folder


@pytest.mark.slow
def test_limits_of_the_system(world):
    pytest.importorskip("resource")
    segment = ["--model", "tiny", "-o"]
    runs = {
        "photo": ("RLIMIT_FSIZE", 1000, ["segment", "photo.png", "dog", *segment, "photo"]),
        "clip": ("RLIMIT_FSIZE", 1000, ["segment", "clip.mp4", "dog", *segment, "clip"]),
        "export": ("RLIMIT_FSIZE", 1000, ["export", "tiny", "exported/model"]),
        "descriptors": ("RLIMIT_NOFILE", 6, ["segment", "photo.png", "dog", *segment, "descriptors"]),
    }
    command = [sys.executable, "-c", CHILDREN, json.dumps(list(runs.values()))]
    done = subprocess.run(command, cwd=world, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, (code, shown) in zip(runs, json.loads(done.stdout), strict=True):
        assert code == 1 and shown.startswith("error: ") and shown.count("\n") == 1, (name, code, shown)
        assert ("File too large" in shown) != name.startswith("descriptors"), shown
        assert "unexpected" not in shown, shown
    for folder in ("photo", "clip", "exported", "descriptors"):
        assert not (world / folder).exists() or os.listdir(world / folder) == [], folder


@pytest.mark.slow
def test_memory_and_descriptors_stay_flat_over_many_requests(world):
    segmenter, process = Segmenter.load(world / "tiny"), psutil.Process()

    def ask(times):
        for number in range(times):
            segmenter.segment(world / "photo.png", f"the dog {number % 10}").save(world / "answers")
        return process.memory_info().rss, process.num_fds() if hasattr(process, "num_fds") else 0

    before, after = ask(30), ask(120)
    assert after[1] == before[1]
    assert after[0] - before[0] < 10e6, "a request must not keep memory: 120 of them may add 10 MB at most"
