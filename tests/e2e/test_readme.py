"""What the README shows works as it stands."""

import re
from pathlib import Path

import pytest
import tiny_clips

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_python_snippets_run(tmp_path, monkeypatch):
    photos, clips = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    frames = tiny_clips.pictures(3)
    tiny_clips.encode(tmp_path / "clip.mp4", frames)
    names: dict = {"camera_image": frames[0]}
    exec(compile(photos, "README.md", "exec"), names)
    assert names["result"].masks.ndim == 3
    assert len(list((tmp_path / "out").iterdir())) == 3
    exec(compile(clips, "README.md", "exec"), names)
    assert names["frame"].masks.shape == (2, 48, 64) and len(names["answer"].frames) == 3


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()
