"""Names of result files."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from instructseg.errors import InputError
from instructseg.media.folders import unfinished_folder
from instructseg.media.outputs import JSON, MASK, OVERLAY, SavedFiles, choose_stem, publish, safe_stem, slug, stems


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The dog, left!", "the-dog-left"),
        ("  a  /etc/passwd ..\\x ", "a-etc-passwd-x"),
        ("the man's café", "the-mans-cafe"),
        ("2 cups", "2-cups"),
        ("a" * 60, "a" * 48),
        ("word " * 30, "-".join(["word"] * 9)),
        ("x" * 44 + " abcd", "x" * 44),
        ("x" * 43 + " abcd", "x" * 43 + "-abcd"),
    ],
)
def test_slugs(text, expected):
    assert slug(text) == expected


@pytest.mark.parametrize("text", ["左边的狗", "собака", "🐶", "...", "", "\udcff"])
def test_sentences_without_latin_letters_get_a_name_of_their_own(text):
    name = slug(text)
    assert name.startswith("text-") and len(name) == 13 and name == slug(text) and name != slug(text + "?")


@pytest.mark.parametrize(
    "name, expected",
    [
        ("a/b/cat.jpg", "cat"),
        ("C:\\photos\\cat.jpg", "cat"),
        ("two.dots.jpg", "two.dots"),
        ("猫.jpg", "猫"),
        ('a<b>:"c.png', "a_b_c"),
        ("line\nbreak.png", "line_break"),
        ("..", "photo"),
        ("", "photo"),
        (".jpg", "jpg"),
        ("half\udcff.jpg", "half_"),
        ("猫" * 200 + ".jpg", "猫" * 33),
    ],
)
def test_stems(name, expected):
    assert safe_stem(name) == expected


QUESTION = ("instruction", "model")


def publish_result(folder, result=None, stem="a"):
    """Publish an overlay, a mask and the JSON file; returns the stem."""
    result = {"instruction": "dog", "model": None, "scores": [0.5], **(result or {})}
    with unfinished_folder(folder) as unfinished:
        staged = {ending: unfinished / ending for ending in (OVERLAY, MASK, JSON)}
        for path in staged.values():
            path.write_text(json.dumps(result), encoding="utf-8")
        return publish(folder, stem, result, QUESTION, staged)


@pytest.mark.parametrize(
    "files, stem",
    [
        ({}, "a"),
        ({"a.json": '{"instruction": "dog", "model": null, "scores": []}'}, "a"),
        ({"a.json": '{"instruction": "cat", "model": null}'}, "a-2"),
        ({"a.json": '{"instruction": "dog"}'}, "a-2"),
        ({"a.json": "[1]"}, "a-2"),
        ({"a.json": "mine"}, "a-2"),
        ({"a.mask.png": "", "a-2.overlay.png": ""}, "a-3"),
        ({"a.txt": ""}, "a"),
        ({"a[1].mask.png": "", "a.mask.pngs": ""}, "a"),
    ],
)
def test_only_an_earlier_answer_to_the_same_question_is_replaced(files, stem, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert publish_result(tmp_path) == stem
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {name: text for name, text in written.items() if name in files and not name.startswith(f"{stem}.")} == {
        name: text for name, text in files.items() if not name.startswith(f"{stem}.")
    }
    assert all(json.loads(written[f"{stem}{ending}"])["scores"] == [0.5] for ending in (OVERLAY, MASK, JSON))


def test_an_empty_folder_counts_names():
    assert list(itertools.islice(stems("b"), 3)) == ["b", "b-2", "b-3"]


def test_processes_with_the_same_stem_lose_no_result(tmp_path):
    """Each of four processes publishes 25 results at the same time; all have the same stem and none may be lost."""
    script = (
        "import sys, test_outputs; from pathlib import Path\n"
        "for number in range(25):\n"
        "    test_outputs.publish_result(Path(sys.argv[1]), {'instruction': f'{sys.argv[2]} {number}'})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    workers = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path, str(worker)], env=environment) for worker in range(4)
    ]
    assert [worker.wait() for worker in workers] == [0] * 4
    results = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    expected = {f"{worker} {number}" for worker in range(4) for number in range(25)}
    assert {result["instruction"] for result in results} == expected and len(results) == 100
    for path in tmp_path.glob("*.json"):
        stem = path.name.removesuffix(JSON)
        assert len({(tmp_path / f"{stem}{ending}").read_text() for ending in (OVERLAY, MASK, JSON)}) == 1


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_a_name_taken_at_the_last_moment_is_not_overwritten(links, tmp_path, monkeypatch):
    exists = os.path.lexists

    def taken_after_the_look(path):
        answer = exists(path)
        (tmp_path / "a.overlay.png").write_text("another process")
        return answer

    monkeypatch.setattr(os.path, "lexists", taken_after_the_look)
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
    assert publish_result(tmp_path) == "a-2"
    assert (tmp_path / "a.overlay.png").read_text() == "another process"


def test_a_part_that_a_new_version_lacks_is_deleted(tmp_path):
    publish_result(tmp_path)
    result = {"instruction": "dog", "model": None}
    with unfinished_folder(tmp_path) as unfinished:
        (unfinished / JSON).write_text(json.dumps(result))
        (unfinished / MASK).write_text("new")
        staged = {MASK: unfinished / MASK, OVERLAY: unfinished / OVERLAY, JSON: unfinished / JSON}
        assert publish(tmp_path, "a", result, QUESTION, staged) == "a"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.mask.png"]
    assert (tmp_path / "a.mask.png").read_text() == "new"


@pytest.mark.parametrize(
    "given, source, texts, stem",
    [
        (None, "x/walk.jpg", ["the dog"], "walk.the-dog"),
        (None, "walk.mp4", ["the dog", "a cat", "?"], "walk.the-dog-and-2-more"),
        ("mine 1.0", "walk.jpg", ["the dog"], "mine 1.0"),
    ],
)
def test_stems_of_results(given, source, texts, stem):
    assert choose_stem(given, source, texts) == stem
    with pytest.raises(InputError, match="expected stem to be a plain file name, got 'a/b'; leave out folders"):
        choose_stem("a/b", source, texts)


def test_saved_files_as_json():
    @dataclass(frozen=True)
    class Saved(SavedFiles):
        mask: Path
        overlay: Path | None

    assert Saved(Path("a/b.png"), None).to_dict() == {"mask": str(Path("a/b.png")), "overlay": None}
