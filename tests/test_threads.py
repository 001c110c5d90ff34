"""The environment of PyTorch's threads: never against the user, within affinity and the quota of a container."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import instructseg
from instructseg import threads
from instructseg.threads import set_thread_policy, usable_cpus


@pytest.fixture
def eight_cpus(monkeypatch):
    monkeypatch.setattr(threads, "_cpus_by_affinity", lambda: 8)


def files(folder, content):
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


V2, V1 = "0::/pod/box\n", "3:memory:/box\n4:cpu,cpuacct:/box\n"
QUOTAS = {
    "no files": ({}, V2, 8),
    "no limit": ({"cpu.max": "max 100000\n"}, V2, 8),
    "2 CPUs": ({"cpu.max": "200000 100000\n"}, V2, 2),
    "half a CPU": ({"cpu.max": "50000 100000\n"}, V2, 1),
    "2.5 CPUs": ({"cpu.max": "250000 100000\n"}, V2, 3),
    "more than there are": ({"cpu.max": "6400000 100000\n"}, V2, 8),
    "own group": ({"pod/box/cpu.max": "300000 100000\n"}, V2, 3),
    "parent is tighter": ({"pod/box/cpu.max": "300000 100000\n", "pod/cpu.max": "100000 100000\n"}, V2, 1),
    "another group": ({"other/cpu.max": "100000 100000\n"}, V2, 8),
    "version 1": ({"cpu,cpuacct/box/cpu.cfs_quota_us": "200000", "cpu,cpuacct/box/cpu.cfs_period_us": "100000"}, V1, 2),
    "version 1 without a limit": ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, V1, 8),
    "version 1 in a container": ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, V1, 4),
    "nonsense": ({"cpu.max": "two of many\n"}, V2, 8),
}


@pytest.mark.parametrize(("content", "groups", "expected"), QUOTAS.values(), ids=QUOTAS)
def test_quota_of_a_control_group(tmp_path, eight_cpus, content, groups, expected):
    (tmp_path / "self").write_text(groups)
    assert usable_cpus(files(tmp_path / "cgroup", content), tmp_path / "self") == expected


def test_affinity_counts():
    assert usable_cpus() <= (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


@pytest.mark.parametrize(("usable", "given", "count", "expected"), [
    (8, {}, None, {"GOMP_SPINCOUNT": "3000"}),  # no limit: PyTorch chooses
    (2, {}, None, {"GOMP_SPINCOUNT": "3000", "OMP_NUM_THREADS": "2"}),
    (2, {}, 5, {"GOMP_SPINCOUNT": "3000", "OMP_NUM_THREADS": "5"}),
    (2, {"OMP_NUM_THREADS": "7"}, None, {"GOMP_SPINCOUNT": "3000", "OMP_NUM_THREADS": "7"}),
    (2, {"OMP_NUM_THREADS": "7"}, 1, {"GOMP_SPINCOUNT": "3000", "OMP_NUM_THREADS": "1"}),
    (8, {"OMP_WAIT_POLICY": "ACTIVE"}, None, {"OMP_WAIT_POLICY": "ACTIVE"}),
    (8, {"GOMP_SPINCOUNT": "0"}, None, {"GOMP_SPINCOUNT": "0"}),
])  # fmt: skip
def test_variables_of_the_user_stay(monkeypatch, eight_cpus, usable, given, count, expected):
    monkeypatch.setattr(threads, "usable_cpus", lambda: usable)
    set_thread_policy(count, given)
    assert given == expected


PROGRAM = """
import os, sys
from instructseg import cli
loaded = "torch" in sys.modules
cli.app = lambda **_: None
cli.main()
print(os.environ.get("GOMP_SPINCOUNT"), os.environ.get("OMP_NUM_THREADS"), loaded, *sys.argv[1:])
"""


@pytest.mark.parametrize(("words", "variables", "expected"), [
    ("segment photo text", {}, "3000 None False segment photo text"),
    ("segment photo text --threads 3", {}, "3000 3 False --threads 3 segment photo text"),
    ("--threads=3 segment", {"OMP_NUM_THREADS": "1"}, "3000 3 False --threads 3 segment"),
    ("segment photo --threads 2 --debug", {}, "3000 2 False --threads 2 --debug segment photo"),
    ("segment photo -- --threads", {}, "3000 None False segment photo -- --threads"),
    ("segment photo --threads many", {}, "3000 None False --threads many segment photo"),  # typer refuses it
    ("segment photo --threads", {}, "3000 None False --threads segment photo"),
    ("train", {"GOMP_SPINCOUNT": "7", "OMP_NUM_THREADS": "4"}, "7 4 False train"),
])  # fmt: skip
def test_the_command_line_sets_them_before_torch(words, variables, expected):
    policy = (*threads.SPIN_VARIABLES, "OMP_NUM_THREADS")
    own = {name: value for name, value in os.environ.items() if name not in policy}
    own |= {"PYTHONPATH": str(Path(instructseg.__file__).parents[1]), **variables}
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words.split()], env=own, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr
