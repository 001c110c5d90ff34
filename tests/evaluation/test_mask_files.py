"""Masks as files: what a run saves is what another run scores; zips for servers; damaged predictions."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from fakes import HEIGHT, WIDTH, Photos, Shifted, block, clip, photo, question
from PIL import Image

from instructseg.errors import DataError, InputError
from instructseg.evaluation.benchmark_run import run_benchmark
from instructseg.evaluation.benchmarks import BENCHMARKS
from instructseg.evaluation.mask_files import mask_paths
from instructseg.evaluation.options import RunOptions, SaveMasks
from instructseg.evaluation.records import read_lines
from instructseg.evaluation.results import read_results
from instructseg.evaluation.saved_predictions import SavedPredictions
from instructseg.evaluation.submission import write_submission

MODEL = {"name": "fake", "hash": "0"}


def scores(folder):
    return read_results(folder)["scores"]


def played(folder, benchmark, samples, system, **settings):
    list(run_benchmark(BENCHMARKS[benchmark], samples, system, folder, RunOptions(MODEL, **settings)))
    return scores(folder)


@pytest.mark.parametrize("save", [SaveMasks.PNG, SaveMasks.RLE])
@pytest.mark.parametrize(
    ("benchmark", "samples"), [("templated/val", Photos(4)), ("davis2016/val", [clip(0), clip(1)])]
)
def test_saved_masks_are_predictions_with_the_same_scores(tmp_path, benchmark, samples, save):
    first = played(tmp_path / benchmark, benchmark, samples, Shifted(), save_masks=save)
    assert first
    assert played(tmp_path / "again", benchmark, samples, SavedPredictions(tmp_path / benchmark)) == first


def test_saved_answers_are_predictions_with_the_same_scores(tmp_path):
    samples = [question(index) for index in range(3)]
    first = played(tmp_path / "pope", "pope/coco", samples, Shifted())
    assert played(tmp_path / "again", "pope/coco", samples, SavedPredictions(tmp_path / "pope")) == first


def test_another_systems_png_files_are_any_value_above_0(tmp_path):
    sample = photo(3)
    for place, mask in enumerate([sample.expressions[0].mask, np.zeros((HEIGHT, WIDTH), bool)]):
        path = tmp_path / "masks" / mask_paths(sample, place)[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask.astype(np.uint8) * (1 + 6 * place)).save(path)
    found = SavedPredictions(tmp_path).segment_image(sample)
    assert (found[0].masks[0] == sample.expressions[0].mask).all() and not found[1].masks[0].any()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"id": "tiny/9", "expressions": []}, "no prediction for expression 0 of sample tiny/clip0"),
        ({"id": "tiny/clip0", "expressions": [{"id": "0", "rles": [None]}]}, "3 entries"),
        ({"id": "tiny/clip0", "expressions": [{"id": "0"}]}, "3 entries"),
        ({"id": "tiny/clip0", "expressions": [{"id": "0", "rles": [{"size": [2, 2], "counts": "x"}] * 3}]}, "RLE"),
    ],
)
def test_damaged_predictions_are_failures_by_name(tmp_path, line, words):
    (tmp_path / "samples.jsonl").write_text(json.dumps(line) + "\n")
    assert played(tmp_path / "out", "davis2016/val", [clip(0)], SavedPredictions(tmp_path)) is None
    assert words in read_lines(tmp_path / "out" / "samples.jsonl")[0]["error"]


def test_a_folder_without_predictions_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"masks/ or samples.jsonl.*neither"):
        SavedPredictions(tmp_path)


def test_ids_that_lead_out_of_the_folder_are_refused():
    for bad in ("../escape", "/tmp/escape"):
        with pytest.raises(DataError, match="cannot name a file"):
            mask_paths(replace(photo(0), id=bad), 0)


@pytest.mark.parametrize(("benchmark", "top"), [("ref_youtube_vos/valid", "Annotations/"), ("mevis/valid", "")])
def test_the_zip_for_a_server_is_complete_and_the_same_each_time(tmp_path, benchmark, top):
    samples = [clip(index, public=False, dataset=benchmark.split("/")[0]) for index in range(2)]
    assert played(tmp_path / "a", benchmark, samples, Shifted()) == {}
    assert read_results(tmp_path / "a")["submission"] == "submission.zip"
    with zipfile.ZipFile(tmp_path / "a" / "submission.zip") as archive:
        names = [f"{top}clip{index}/0/{frame}.png" for index in range(2) for frame in ("00", "05", "10")]
        assert archive.namelist() == names
        with archive.open(names[1]) as file:
            picture = Image.open(file)
            assert picture.mode == "L" and set(np.unique(picture)) == {0, 255}
            assert (np.asarray(picture) > 0).sum() == block(4, 5).sum()
    played(tmp_path / "b", benchmark, samples, Shifted())
    zips = [(tmp_path / run / "submission.zip").read_bytes() for run in "ab"]
    assert zips[0] == zips[1]


def test_an_incomplete_or_wrong_zip_is_refused(tmp_path):
    sample = clip(0, public=False, dataset="mevis")
    played(tmp_path, "mevis/valid", [sample], Shifted())
    path = tmp_path / "masks" / "mevis" / "clip0" / "0" / "05.png"
    Image.new("L", (3, 3)).save(path)
    with pytest.raises(DataError, match=r"05.png to have.*got \(3, 3\)"):
        write_submission("mevis", [sample], tmp_path / "masks", [])
    path.unlink()
    with pytest.raises(DataError, match="lacks 1 of the 3 masks of mevis/clip0"):
        write_submission("mevis", [sample], tmp_path / "masks", [])


@pytest.mark.parametrize("settings", [{"limit": 1}, {"allow_failures": True}])
def test_no_zip_from_a_part_or_from_failures(tmp_path, settings):
    samples = [clip(index, public=False, dataset="mevis") for index in range(2)]
    fails = ["mevis/clip1"] if "limit" not in settings else []
    played(tmp_path, "mevis/valid", samples, Shifted(fails=fails), **settings)
    assert read_results(tmp_path)["submission"] is None
    assert not (tmp_path / "submission.zip").exists()


def test_answers_for_vqas_server(tmp_path):
    asked = [replace(question(index).expressions[0], id=str(index), answer=None, details={}) for index in range(2)]
    samples = [replace(question(index), id=f"vqav2/{index}", expressions=(each,)) for index, each in enumerate(asked)]
    played(tmp_path, "vqav2/test-dev", samples, Shifted())
    expected = [{"question_id": index, "answer": "yes there is"} for index in range(2)]
    assert json.loads((tmp_path / "submission.json").read_text()) == expected
