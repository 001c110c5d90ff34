"""`instructseg segment` on clips, with a tiny random model."""

import json
from pathlib import Path

import pytest
import tiny_model
from PIL import Image
from tiny_clips import cut, encode, pictures, without_control_extensions
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.media.masks import rle_to_mask
from instructseg.media.video import open_clip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_model.saved(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def run(weights, tmp_path, monkeypatch):
    """Run `segment` in an empty folder that holds walk.mp4 and photo.png."""
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "walk.mp4", pictures(8), sound="aac", options={"movflags": "faststart"})
    Image.fromarray(pictures(1)[0]).save("photo.png")
    return lambda *arguments: CliRunner().invoke(
        app, ["segment", *arguments, "--model", weights, "--device", "cpu"], catch_exceptions=False
    )


def written(folder="instructseg-output"):
    return sorted(path.name for path in Path(folder).iterdir())


def test_two_objects_of_a_clip(run):
    result = run("walk.mp4", "the dog", "the red ball", "--threshold", "0")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("walk.mp4: 'the dog': in 8 of 8 frames with a mean score of 0.")
    assert second.startswith("walk.mp4: 'the red ball': in 8 of 8 frames")
    stem = "walk.the-dog-and-1-more"
    assert written() == [f"{stem}.json", f"{stem}.masks", f"{stem}.overlay.mp4"]
    assert first.endswith(f"{stem}.overlay.mp4") and len(list(open_clip(first.split(" -> ")[1]))) == 8
    assert Image.open(f"instructseg-output/{stem}.masks/00003.png").mode == "P"
    content = json.loads(Path(f"instructseg-output/{stem}.json").read_text(encoding="utf-8"))
    assert rle_to_mask(content["frames"][7]["objects"][1]["segmentation"]).shape == (48, 64)


def test_part_of_a_clip_as_json(run):
    options = "--json --every 2 --start 0.2 --end 0.7 --max-side 32 --linking causal --task reason_seg --threshold 0"
    result = run("walk.mp4", "what moves", *options.split())
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)["results"]
    assert [frame["time"] for frame in answer["frames"]] == pytest.approx([0.2, 0.4, 0.6])
    assert answer["frames"][0]["size"] == [24, 32] and answer["tasks"] == ["reason_vos"] and answer["files"] is None
    assert not Path("instructseg-output").exists()


def test_nothing_found(run):
    result = run("walk.mp4", "the dog", "--threshold", "1")
    assert result.exit_code == 0 and "no target ->" in result.stdout


def test_damage_keeps_what_came_before(run):
    cut(Path("walk.mp4"), 0.7)
    result = run("cut_walk.mp4", "the dog", "--threshold", "0")
    assert result.exit_code == 1
    assert "in" in result.stdout and "frames" in result.stdout
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("error: ")]
    assert "re-encode it" in line and "cut_walk.mp4" in line
    assert len(written()) == 3


def test_what_is_no_clip(run):
    Path("broken.mp4").write_bytes(b"nothing")
    result = run("broken.mp4", "the dog")
    assert result.exit_code == 1 and "broken.mp4 is not a readable video" in result.stderr
    assert "nowhere.mp4 does not exist" in run("nowhere.mp4", "the dog").stderr
    assert "matches no video" in run("*.mkv", "the dog").stderr


def test_folders_patterns_and_gifs(run):
    Path("frames").mkdir()
    for number, image in enumerate(pictures(3)):
        Image.fromarray(image).save(f"frames/{number}.png")
    assert "in 3 of 3 frames" in run("frames", "the dog", "--frames", "--threshold", "0").stdout
    encode(Path("a.gif"), pictures(4), codec="gif", pixels="rgb8")
    assert "in 4 of 4 frames" in run("a.gif", "the dog", "--threshold", "0").stdout
    assert "in 8 of 8 frames" in run("*.mp4", "the dog", "--threshold", "0").stdout


def test_folders_of_clips_and_of_both(run):
    Path("clips").mkdir()
    Path("walk.mp4").rename("clips/walk.mp4")
    result = run("clips", "the dog", "--threshold", "0")
    assert result.exit_code == 0 and "in 8 of 8 frames" in result.stdout
    Path("photo.png").rename("clips/photo.png")
    result = run("clips", "the dog", "--threshold", "0")
    assert result.exit_code == 0 and result.stdout.startswith("clips/photo.png: ")
    assert "note: clips has photos, so its clips are skipped (1: walk.mp4); pass them by a pattern" in result.stderr


@pytest.mark.parametrize("name", ["walk.m2ts", "walk.vob", "walk"])
def test_other_endings(run, name):
    Path("walk.mp4").rename(name)
    result = run(name, "the dog", "--threshold", "0")
    assert result.exit_code == 0 and "in 8 of 8 frames" in result.stdout


def test_old_gifs_and_held_frames(run):
    encode(Path("held.mp4"), pictures(5), times=[0, 0.1, 0.2, 0.3, 9])
    images = [Image.new("RGB", (32, 24), (50 * number, 0, 0)) for number in range(4)]
    images[0].save("a.gif", save_all=True, append_images=images[1:], duration=100)
    without_control_extensions(Path("a.gif"))
    for name, count in (("held.mp4", 5), ("older_a.gif", 4)):
        result = run(name, "the dog", "--threshold", "0")
        assert result.exit_code == 0 and f"in {count} of {count} frames" in result.stdout, result.output


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["https://example.org/a.jpg", "the dog"], "https://example.org/a.jpg is a URL, and nothing is downloaded"),
        (["https://example.org/a.mp4", "the dog"], "https://example.org/a.mp4 is a URL"),
        (["rtsp://camera/1", "the dog"], "rtsp://camera/1 is a live stream (rtsp), which is not supported"),
        (["rtsp://camera/1", "the dog", "--frames"], "rtsp://camera/1 is a live stream"),
        (["file://walk.mp4", "the dog"], "is a file URL; pass the path without file://"),
        (["photo.png", "the dog", "--every", "2", "--start", "1"], "--every, --start: for clips only"),
        (["walk.mp4", "the dog", "--max-masks", "2"], "--max-masks is for photos only"),
        (["walk.mp4", "the dog", "--start", "2", "--end", "1"], "expected 0 <= start < end, got start 2.0 s"),
        (["walk.mp4", "the dog", "--start", "9"], "has no frame between 9 s and its end"),
    ],
)
def test_options_that_do_not_fit(run, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 1 and message in result.stderr
