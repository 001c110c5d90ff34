"""The README's Python runs as printed, its links lead to files, and it stays short."""

import re
from pathlib import Path

import pytest
import tiny_clips

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_python_snippets_run(tmp_path, monkeypatch):
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    tiny_clips.encode(tmp_path / "clip.mp4", tiny_clips.pictures(3))
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["result"].masks.ndim == 3
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert names["cup"].instruction == "the cup" and names["spoon"].instruction == "the spoon"
    assert len(names["video"].frames) == 3 and names["video"].frames[0].masks.shape == (2, 48, 64)
    assert names["frame"].masks.shape == (1, 48, 64)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_it_stays_under_a_hundred_lines():
    assert README.count("\n") < 100
