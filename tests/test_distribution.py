"""What is published: the declared ranges, the description on the index, and the types that a user's checker sees."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import instructseg

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PICTURE, PAGE = "docs/pictures/examples.jpg", "docs/architecture.md"


def pins(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(package): Version(version) for package, version in pairs}


def requirements(*groups):
    return [each for each in (Requirement(text) for group in groups for text in group) if each.name != "instructseg"]


def test_the_lowest_versions_are_the_declared_ones():
    declared = requirements(PROJECT["dependencies"], EXTRAS["data"], EXTRAS["serve"])
    minima = {
        canonicalize_name(each.name): Version(next(part.version for part in each.specifier if part.operator == ">="))
        for each in declared
    }
    assert pins("constraints-lowest.txt") == minima


def test_the_pinned_versions_are_within_the_ranges():
    pinned = pins("constraints.txt")
    wrong = [str(each) for each in requirements(PROJECT["dependencies"], *EXTRAS.values())
             if (version := pinned.get(canonicalize_name(each.name))) and version not in each.specifier]  # fmt: skip
    missing = [str(each) for each in requirements(PROJECT["dependencies"], EXTRAS["dev"], EXTRAS["serve"])
               if canonicalize_name(each.name) not in pinned]  # fmt: skip
    assert not wrong and not missing
    assert pinned["pillow"] < Version("13")


def test_python_versions():
    versions = [line.split(" :: ")[-1] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert versions == ["3.11", "3.12", "3.13", "3.14"] and PROJECT["requires-python"] == f">={versions[0]}"


@pytest.fixture(scope="module")
def index_readme():
    """The function of hatch_build.py, which runs when the package is built."""
    pytest.importorskip("hatchling", reason="hatchling is not installed; pip install '.[dev]'")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.index_readme


@pytest.mark.parametrize(
    "environment, revision",
    [
        ({"INSTRUCTSEG_REPOSITORY": "https://github.com/me/seg", "INSTRUCTSEG_REVISION": "v1.2"}, "v1.2"),
        ({"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "me/seg", "GITHUB_SHA": "abc"}, "abc"),
    ],
)
def test_links_of_the_index_are_absolute(index_readme, environment, revision):
    text = index_readme((ROOT / "README.md").read_text(encoding="utf-8"), environment)
    assert f"](https://raw.githubusercontent.com/me/seg/{revision}/{PICTURE})\n\n## " in text
    assert f"[Architecture](https://github.com/me/seg/blob/{revision}/{PAGE})" in text
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", text) == []


def test_without_an_address_nothing_is_broken(index_readme):
    text = index_readme((ROOT / "README.md").read_text(encoding="utf-8"), {})
    assert "![" not in text and re.findall(r"\]\((?!https?:|#)[^)]*\)", text) == []
    assert "Command line · Fine-tuning · Server and page" in text and "](https://arxiv.org/abs/2412.14006)" in text


def test_an_address_elsewhere_is_refused(index_readme):
    with pytest.raises(ValueError, match=r"expected INSTRUCTSEG_REPOSITORY to be https://github.com/OWNER/NAME"):
        index_readme("", {"INSTRUCTSEG_REPOSITORY": "https://example.org/seg"})


USER_SCRIPT = """
from pathlib import Path

import numpy as np

from instructseg import InputError, Prediction, Segmenter, VideoOptions, VideoPrediction


def area(photo: str | Path, text: str, segmenter: Segmenter) -> int:
    try:
        result: Prediction = segmenter.segment(photo, text)
    except InputError as error:
        raise SystemExit(str(error)) from error
    masks: np.ndarray = result.masks
    return int(masks[0].sum()) if result.found else 0


segmenter = Segmenter.load("nano", device="cpu")
cup, spoon = segmenter.open("desk.jpg").segment(["the cup", "the spoon"])
clip: VideoPrediction = segmenter.segment_video("clip.mp4", "the dog", VideoOptions(every=2))
print(area("desk.jpg", "the cup", segmenter), cup.scores.max(), len(clip.frames), cup.save("out").overlay)
"""


WRONG_SCRIPT = """
from instructseg import Segmenter

count: int = Segmenter.load("nano").segment("desk.jpg", "the cup")
"""


MYPY_OPTIONS = """
[mypy]
strict = True
follow_imports = silent

[mypy-torch.*,transformers.*,huggingface_hub.*,av.*,cv2.*,PIL.*,pydantic.*]
follow_imports = skip
"""


def check_types(tmp_path, *command):
    """The checker finds nothing in the user's script, and the one error of another, which shows that it sees types."""
    (tmp_path / "user.py").write_text(USER_SCRIPT, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG_SCRIPT, encoding="utf-8")
    source = str(Path(instructseg.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "MYPYPATH": source}
    files = ["user.py", "wrong.py"]
    done = subprocess.run([*command, *files], cwd=tmp_path, env=environment, capture_output=True, text=True)
    (error,) = [
        line for line in done.stdout.splitlines() if re.search(r"\.py:\d+\S* .*error", line) or " - error" in line
    ]
    assert done.returncode == 1 and "wrong.py:4" in error and "Prediction" in error, done.stdout + done.stderr


@pytest.mark.slow
def test_a_users_script_is_clean_under_pyright(tmp_path):
    pytest.importorskip("pyright")
    check_types(tmp_path, sys.executable, "-m", "pyright", "--pythonpath", sys.executable)


@pytest.mark.slow
def test_a_users_script_is_clean_under_mypy(tmp_path):
    """With --strict. The large packages below ours are not read, which would take a minute."""
    pytest.importorskip("mypy", reason="mypy is not installed; pip install '.[dev]'")
    (tmp_path / "mypy.ini").write_text(MYPY_OPTIONS, encoding="utf-8")
    check_types(tmp_path, sys.executable, "-m", "mypy")
