"""What a run tells: trackers beside the log, a sheet of predictions, speeds, and errors of a disk that is full."""

import sys
import time
import types

import numpy as np
import pytest
import tiny_model
from PIL import Image

from instructseg.errors import InputError, RecipeError
from instructseg.training.logging import report, sheet
from instructseg.training.logging.report import RunLog, Window, status
from instructseg.training.logging.trackers import Trackers
from instructseg.types import Expression, Sample, Task

FIGURES = {"losses": {"mask": 0.5, "total": 2}, "learning_rate": 1e-4, "note": "words are left out"}


def test_trackio_gets_flat_figures(tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType("trackio")
    fake.init = lambda **options: calls.append(("init", options))
    fake.log = lambda figures, step: calls.append((step, figures))
    fake.finish = lambda: calls.append("finish")
    monkeypatch.setitem(sys.modules, "trackio", fake)
    trackers = Trackers(["trackio"], tmp_path / "cups", 20, {"steps": 30})
    trackers.write(30, FIGURES)
    trackers.close()
    (_, options), written, end = calls
    assert options == {"project": "instructseg", "name": "cups", "config": {"steps": 30}, "resume": "allow"}
    assert written == (30, {"losses/mask": 0.5, "losses/total": 2.0, "learning_rate": 1e-4}) and end == "finish"


def test_tensorboard_files_hold_the_figures(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resumed_at, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        trackers = Trackers(["tensorboard"], tmp_path, resumed_at, {})
        for step in steps:
            trackers.write(step, {"losses": {"mask": step + resumed_at}})
        trackers.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    told = [(event.step, event.value) for event in events.Scalars("losses/mask")]
    assert told == [(10, 10.0), (20, 20.0), (30, 50.0), (40, 60.0)], "steps that were made twice are told once"


@pytest.mark.parametrize("name, module", [("tensorboard", "torch.utils.tensorboard"), ("trackio", "trackio")])
def test_a_tracker_that_is_not_installed(name, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RecipeError, match=rf"{name}, which is not installed; run: pip install .instructseg\[{name}\]"):
        Trackers([name], tmp_path, 0, {})


def test_a_sheet_shows_truth_and_answer_of_spread_samples(tmp_path, monkeypatch):
    left = np.zeros((40, 56), bool)
    left[:, :28] = True
    asked = (Expression("the dog", left), Expression("the kite", None))
    samples = [Sample(f"a/{seed}", Task.RES, (tiny_model.photo(seed=seed),), asked) for seed in range(30)]
    drawn = []
    monkeypatch.setattr(sheet, "overlay", lambda image, masks, caption: drawn.append((len(masks), caption)) or image)
    shown = sheet.Sheet(samples)
    for sample in samples:
        for place in range(2):
            shown.show(sample, place, ~left if place == 0 else None)
            shown.show(sample, place, None)  # told again, as no validation does: not drawn again
    assert len(drawn) == 2 * sheet.PAIRS and shown.captions == ["truth", "answer"] * sheet.PAIRS
    assert drawn[:4] == [(1, "the dog"), (1, "the dog"), (0, "the kite"), (0, "the kite")]
    shown.write(tmp_path / "new" / "sheet.jpg")
    with Image.open(tmp_path / "new" / "sheet.jpg") as picture:
        assert picture.width > 1000 and picture.format == "JPEG"


def test_speeds_and_the_share_of_waiting(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    window = Window()
    for _ in range(4):
        now[0] += 2.0
        window.add({"mask": 1.0, "total": 3.0}, instructions=6, samples=2, waited=0.5)
    now[0] += 30
    window.pause(30)  # a validation
    speed = window.speed()
    assert (speed["instructions_per_second"], speed["samples_per_second"]) == (3.0, 1.0)
    assert speed["waiting_for_data"] == 0.25 and 0.05 < speed["memory_gb"] < 100
    line = status(window.means(), speed)
    assert line.startswith("loss 3.00 (mask 1.00)  1.0 samples/s, 25% waiting for data") and line.endswith(" GB")


def test_a_window_goes_on_from_what_was_gathered():
    window, resumed = Window(), Window()
    window.add({"mask": 1.0}, 1)
    resumed.go_on(window.gathered())
    for each in (window, resumed):
        each.add({"mask": 4.0, "text": 2.0}, 1)
    assert window.means() == resumed.means() == {"mask": 2.5, "text": 2.0}


def test_a_log_on_a_full_disk(tmp_path, monkeypatch):
    log = RunLog(tmp_path / "log.jsonl", 0)
    log.write(step=1)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.Path, "open", refuse)
    with pytest.raises(InputError, match=r"log\.jsonl cannot be written: No space left .* goes on from its last"):
        log.write(step=2)
