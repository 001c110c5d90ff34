"""The command: what it prints, refuses and returns, on a dataset written in MeViS's layout; and a model's answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from fakes import clip, photo
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.evaluation.api.segmenter_predictor import SegmenterPredictor
from instructseg.evaluation.benchmarks import BENCHMARKS
from instructseg.inference.segmenter import Segmenter
from instructseg.media.masks import mask_to_rle, write_mask_png
from instructseg.types import Expression, Sample, Task

SIZE = (20, 24)


def mask(column):
    found = np.zeros(SIZE, bool)
    found[4:12, column : column + 8] = True
    return found


@pytest.fixture
def data(tmp_path):
    """MeViS's valid_u with two clips of two frames, and another system's masks for them: one right, one beside it."""
    root, answers = tmp_path / "data" / "mevis" / "valid_u", tmp_path / "other" / "mevis" / "valid_u" / "masks"
    videos, codes = {}, {}
    for number, name in enumerate(("one", "two")):
        videos[name] = {
            "vid_id": number,
            "frames": ["00000", "00001"],
            "expressions": {"0": {"exp": f"the {name}", "obj_id": [0], "anno_id": [number]}},
        }
        codes[str(number)] = [mask_to_rle(mask(4 + frame)) for frame in range(2)]
        for frame in range(2):
            picture = root / "JPEGImages" / name / f"{frame:05d}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((*SIZE, 3), 90 * number, np.uint8)).save(picture)
            target = answers / "mevis" / name / "0" / f"{frame:05d}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_mask_png(target, mask(4 + frame if name == "one" else 14))
    (root / "meta_expressions.json").write_text(json.dumps({"videos": videos}))
    (root / "mask_dict.json").write_text(json.dumps(codes))
    return tmp_path


def called(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words)])


def score(data, *words):
    request = ["--on", "mevis/valid_u", "--data", data / "data", "--predictions", data / "other", "-o", data / "out"]
    return called(*request, *words)


def test_predictions_are_scored_and_the_table_printed(data):
    done = score(data)
    assert done.exit_code == 0, done.output
    result = json.loads((data / "out" / "mevis" / "valid_u" / "results.json").read_text())
    # the second clip's answer, columns 14 to 21, does not touch its object, columns 4 to 12
    assert result["scores"]["J"] == 0.5 and result["scores"]["count"] == 2
    assert "| mevis/valid_u | J | - | 50.00 | 2 | 2 |" in done.output
    assert (data / "out" / "results.md").read_text() in done.output
    assert (data / "out" / "mevis" / "valid_u" / "sheet.jpg").exists()


def test_a_failed_sample_fails_the_command_unless_allowed(data):
    (data / "other" / "mevis" / "valid_u" / "masks" / "mevis" / "one" / "0" / "00001.png").write_bytes(b"no picture")
    done = score(data)
    assert done.exit_code == 1
    assert "1 of 2 samples failed: mevis/one" in done.output and "00001.png" in done.output
    allowed = score(data, "--allow-failures")
    assert allowed.exit_code == 0
    assert "| mevis/valid_u | J | - | 0.00 | 2 | 2 |" in allowed.output


def test_other_predictions_do_not_go_on_in_the_same_folder(data):
    assert score(data).exit_code == 0
    write_mask_png(data / "other" / "mevis" / "valid_u" / "masks" / "mevis" / "two" / "0" / "00000.png", mask(0))
    done = score(data)
    assert done.exit_code == 1 and "records of another run (model was" in done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--on", "refcoco/val", "--data", "."], "expected a MODEL, got none"),
        (["nano", "--data", "."], "expected a benchmark, got none"),
        (["nano", "--on", "refcoco/vall", "--data", "."], "did you mean refcoco/val"),
        (["nano", "--on", "refcoco/val"], "expected --data with the folder of the datasets, got none"),
        (["nano", "--on", "revos/valid", "--data", "."], "ReVOS"),
        (["no-such-model", "--on", "davis2016/val", "--data", "DATA"], "model 'no-such-model' not found"),
    ],
)
def test_a_wrong_request_is_one_line(data, words, message, monkeypatch):
    monkeypatch.chdir(data)
    words = ["mevis/valid_u" if word == "davis2016/val" else "data" if word == "DATA" else word for word in words]
    done = called(*words)
    assert done.exit_code == 1 and message in done.output
    assert len(done.output.strip().splitlines()) == 1 and not isinstance(done.exception, KeyError)


def test_the_official_answers_of_llava_score_as_published(shared_data, tmp_path):
    """LLaVA-1.5-13B's answers to POPE, brought into the documented layout; no photo lies here."""
    data = shared_data / "data" / "llava_eval"
    answers = (data / "pope" / "answers" / "llava-v1.5-13b.jsonl").read_text().splitlines()
    asked = (data / "pope" / "llava_pope_test.jsonl").read_text().splitlines()
    numbers, samples = dict.fromkeys(("adversarial", "popular", "random"), 0), {}
    for question, answer in zip(map(json.loads, asked), map(json.loads, answers), strict=True):
        numbers[question["category"]] += 1
        identity = f"{question['category']}/{numbers[question['category']]}"
        name = f"pope/{Path(question['image']).stem}"
        samples.setdefault(name, []).append({"id": identity, "answer": answer["text"]})
    folder = tmp_path / "llava" / "pope" / "coco"
    folder.mkdir(parents=True)
    lines = [json.dumps({"id": name, "expressions": expressions}) for name, expressions in samples.items()]
    (folder / "samples.jsonl").write_text("\n".join(lines))
    done = called("--on", "pope/coco", "--data", data, "--predictions", tmp_path / "llava", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "| pope/coco | f1 | 87.0 | 85.95 | 500 | 8,910 |" in done.output


def test_list_prints_every_row_with_the_papers_figures():
    done = called("--list")
    assert done.exit_code == 0
    named = [line.split()[0] for line in done.output.splitlines() if line.startswith("  ") and line[2] != " "]
    assert sorted(named) == sorted(BENCHMARKS)
    assert "\nTable 3: mean over expressions" in done.output and "referring/J&F (57.0)" in done.output
    assert max(map(len, done.output.splitlines())) <= 110


@pytest.fixture(scope="module")
def segmenter():
    model, processor = tiny_model.build()
    return Segmenter(model, processor)


def test_a_model_answers_photos_as_people_would_ask_it(segmenter):
    sample = photo(3)
    for answer, expression in zip(SegmenterPredictor(segmenter).segment_image(sample), sample.expressions, strict=True):
        asked = segmenter.segment(sample.image, expression.text, task="res")
        assert (answer.masks[0] is None) == (not asked.found)
        assert not asked.found or (answer.masks[0] == asked.masks[0]).all()


def test_questions_about_one_photo_read_it_once(segmenter, monkeypatch):
    asked = [Expression(f"what is {word}", None) for word in ("red", "here", "this")]
    first, second = (Sample(f"q/{seed}", Task.CHAT, (tiny_model.photo(seed=seed),), tuple(asked)) for seed in (1, 2))
    worded = Sample("q/3", Task.CHAT, (), tuple(asked[:1]))
    direct = [segmenter.chat(each.image, asked.text) for each in (first, second) for asked in each.expressions]
    direct.append(segmenter.chat(None, asked[0].text))
    opened, real = [], Segmenter.open
    monkeypatch.setattr(Segmenter, "open", lambda self, photo: opened.append(photo) or real(self, photo))
    answers = SegmenterPredictor(segmenter)
    pairs = [(sample, expression) for sample in (first, second, worded) for expression in sample.expressions]
    assert [answers.answer(*pair) for pair in pairs] == direct
    assert len(opened) == 2


@pytest.mark.parametrize("linking", ["off", "offline"])
def test_a_model_answers_every_frame_of_a_clip(segmenter, linking):
    sample = clip(1)
    (answer,) = SegmenterPredictor(segmenter, linking).segment_clip(sample)
    assert len(answer.masks) == len(answer.scores) == 3
    direct = segmenter.segment_video(sample.frames, ["the block"], linking=linking, task="rvos")
    for index, frame in enumerate(direct.frames):
        given = answer.masks[index]
        assert (given is not None) == frame.present[0]
        assert given is None or (given == frame.masks[0]).all()


@pytest.mark.slow
def test_two_processes_of_the_command_equal_one(data):
    """torchrun shares the clips; the bytes are those of one process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"}
    assert score(data).exit_code == 0
    one = (data / "out" / "mevis" / "valid_u" / "samples.jsonl").read_bytes()
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    command = ["instructseg", "evaluate", "--on", "mevis/valid_u", "--data", data / "data", "--predictions"]
    words = [*launch, *command, data / "other", "-o", data / "two"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (data / "two" / "mevis" / "valid_u" / "samples.jsonl").read_bytes() == one
    assert done.stdout.count("| mevis/valid_u | J |") == 1
