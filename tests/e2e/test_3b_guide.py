"""docs/3b.md: its commands run in their order, with a random released checkpoint of tiny size; its messages exist."""

import errno
import json
import os
import re
import shlex
from pathlib import Path

import pytest
import tiny_clips
import tiny_model
import typer
from accelerate.state import AcceleratorState
from painted_world import paint
from PIL import Image
from typer.testing import CliRunner

from benchmarks.speed import full_size, released_checkpoint
from instructseg.cli import app
from instructseg.conversion import convert
from instructseg.training import precision

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "3b.md").read_text()
NEEDS_NETWORK = ("python3 -m venv", "pip install", "python -c", "hf download")
# A tiny training, of which the recipe sets the parts, the precision and the losses.
TINY = ("steps=1", "warmup_steps=0", "batch_photos=2", "accumulate=2", "validate_every=1", "data.workers=0",
        "data.compose.size=64", "data.compose.cache_side=64", "loss.num_points=100")  # fmt: skip


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


LINES = [line for block in blocks("bash") for line in block.splitlines()]
COMMANDS = [shlex.split(line, comments=True)[1:] for line in LINES if line.startswith("instructseg ")]


def write_refcoco(root):
    """One photo and one object with two sentences, in the released code's form."""
    photo = {"id": 7, "file_name": "COCO_train2014_000000000007.jpg", "height": 40, "width": 56}
    record = {
        "image": photo["file_name"], "image_info": photo, "new_img_id": 0,
        "instruction": [{"sent": "the dog", "sent_id": 1}, {"sent": "red one", "sent_id": 2}],
        "anns": [{"id": 1, "image_id": 7, "category_id": 1, "iscrowd": 0, "segmentation": [[4, 4, 40, 4, 20, 30]]}],
    }  # fmt: skip
    (root / "refcoco").mkdir(parents=True)
    (root / "refcoco" / "refcoco_val.json").write_text(json.dumps([record]))
    (root / "coco" / "train2014").mkdir(parents=True)
    Image.fromarray(tiny_model.photo()).save(root / "coco" / "train2014" / photo["file_name"])


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A folder with what the reader of the guide has: the authors' files, a photo, a clip, data."""
    folder = tmp_path_factory.mktemp("machine")
    released_checkpoint.write(folder / "InstructSeg", full_size.sizes(tiny=True)[0], shard_bytes=200_000)
    Image.fromarray(tiny_model.photo()).save(folder / "photo.jpg")
    tiny_clips.encode(folder / "clip.mp4", tiny_clips.pictures(3))
    (folder / "examples.csv").write_text("photo,sentence\nphoto.jpg,the dog\n")
    write_refcoco(folder / "DATA")
    paint(folder)
    (folder / "instances.json").rename(folder / "my_coco.json")
    return folder


def run(words):
    """A command of the guide, in a fresh state of accelerate, which is one per process."""
    AcceleratorState._reset_state(True)
    words = [*words, *TINY] if words[0] == "train" else words
    return CliRunner().invoke(app, words, input="what is this?\n" if words[0] == "chat" else None)


@pytest.mark.slow
def test_commands_and_snippets_run_in_their_order(machine, monkeypatch):
    monkeypatch.chdir(machine)
    monkeypatch.setattr(convert, "paper", lambda: full_size.sizes(tiny=True)[1])
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: True)
    known = typer.main.get_command(app).commands
    for words in COMMANDS:
        if words[0] not in known:  # `chat` is added by another branch
            continue
        done = run(words)
        is_small = words[:2] == ["data", "check"] and done.exit_code == 1  # counts below the published ones
        assert done.exit_code == 0 or is_small, f"{words}\n{done.output}\n{done.exception}"
    names = {}
    for snippet in blocks("python"):
        exec(compile(snippet, "3b.md", "exec"), names)
    assert names["result"].masks.shape[1:] == (40, 56)
    expected = ["figures/figure6.jpg", "results/results.md",
                "runs/paper_finetune/model/config.json", "weights/merged/config.json"]  # fmt: skip
    assert [name for name in expected if not (machine / name).exists()] == []
    assert list((machine / "out").glob("clip*.mp4")) and list((machine / "out2").glob("clip*.mp4"))
    (result,) = json.loads((machine / "results" / "results.json").read_text())
    assert (result["benchmark"], result["scores"]["count"]) == ("refcoco-joined/val", 1)


def test_all_other_lines_need_a_network_or_another_environment():
    others = [line for line in LINES if line and not line.startswith("instructseg ")]
    assert [line for line in others if not line.startswith(NEEDS_NETWORK)] == [] and len(COMMANDS) > 10


def test_the_errors_are_the_package_s_own():
    """Every quoted message is in the source, where a message may be divided among several literals."""
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    rows = GUIDE.split("## Errors")[1].split("|---|---|")[1].strip().splitlines()
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(quoted) > 10 and os.strerror(errno.ENOSPC) in quoted
    assert [text for text in quoted if text not in source and text != os.strerror(errno.ENOSPC)] == []
