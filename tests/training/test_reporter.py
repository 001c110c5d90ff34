"""Reports of a run: trackers besides the log, a sheet of predictions, speeds, and errors of a full disk."""

import time

import numpy as np
import pytest
import tiny_model
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import GeneralTracker
from PIL import Image

from instructseg.errors import InputError, RecipeError
from instructseg.training.distributed.processes import open_accelerator
from instructseg.training.logging import prediction_sheet, run_log, trackers
from instructseg.training.logging.progress import StepWindow, status
from instructseg.training.logging.reporter import Reporter
from instructseg.training.logging.run_log import RunLog, read_log
from instructseg.training.recipe import Recipe
from instructseg.types import Expression, Sample, Task

FIGURES = {"losses": {"mask": 0.5, "total": 2}, "learning_rate": 1e-4, "note": "words are left out"}


class RecordingTracker(GeneralTracker):
    """A tracker of accelerate's interface that keeps what it is given."""

    name, requires_logging_directory = "recording", False

    def __init__(self, run_name="", **_):
        super().__init__()
        self.calls = []

    @property
    def tracker(self):
        return self.calls

    def store_init_configuration(self, values):
        self.calls.append(("config", values))

    def log(self, values, step=None, **_):
        self.calls.append((step, values))

    def finish(self):
        self.calls.append("finish")


@pytest.fixture
def accelerator():
    AcceleratorState._reset_state(True)
    return Accelerator(cpu=True, log_with=[RecordingTracker()])


def test_trackers_get_flat_figures_and_the_recipe(tmp_path, accelerator):
    reporter = Reporter(Recipe(output=str(tmp_path / "cups"), steps=30), 20, accelerator)
    reporter.figures(30, FIGURES)
    reporter.close()
    (name, config), written, end = accelerator.trackers[0].calls
    assert name == "config" and config["steps"] == 30 and config["loss/num_points"] == 12544
    assert all(isinstance(value, bool | int | float | str) for value in config.values())
    assert written == (30, {"losses/mask": 0.5, "losses/total": 2.0, "learning_rate": 1e-4}) and end == "finish"
    assert [line["step"] for line in read_log(tmp_path / "cups" / "log.jsonl")] == [30]


def test_tensorboard_files_hold_the_figures(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = Recipe(output=str(tmp_path), report=("tensorboard",))
    for resumed_at, steps in ((0, (10, 20, 30)), (20, (30, 40))):
        AcceleratorState._reset_state(True)
        reporter = Reporter(recipe, resumed_at, open_accelerator(recipe))
        for step in steps:
            reporter.figures(step, {"losses": {"mask": step + resumed_at}})
        reporter.close()
    events = EventAccumulator(str(tmp_path / "tensorboard" / "instructseg")).Reload()
    scalars = [(event.step, event.value) for event in events.Scalars("losses/mask")]
    assert scalars == [(10, 10.0), (20, 20.0), (30, 50.0), (40, 60.0)], "repeated steps are shown once"


@pytest.mark.parametrize(
    "name, package", [("tensorboard", r".instructseg\[tensorboard\]."), ("trackio", r".instructseg\[trackio\]."),
                      ("wandb", "wandb")]
)  # fmt: skip
def test_a_tracker_that_is_not_installed(name, package, monkeypatch):
    monkeypatch.setattr(trackers, "get_available_trackers", list)
    with pytest.raises(RecipeError, match=rf"report: {name} is not installed; run: pip install {package}, or remove"):
        open_accelerator(Recipe(report=(name,)))


def test_a_sheet_shows_truth_and_answer_of_spread_samples(tmp_path, monkeypatch):
    left = np.zeros((40, 56), bool)
    left[:, :28] = True
    asked = (Expression("the dog", left), Expression("the kite", None))
    samples = [Sample(f"a/{seed}", Task.RES, (tiny_model.photo(seed=seed),), asked) for seed in range(30)]
    drawn = []
    monkeypatch.setattr(
        prediction_sheet, "overlay", lambda image, masks, caption: drawn.append((len(masks), caption)) or image
    )
    shown = prediction_sheet.PredictionSheet(samples)
    for sample in samples:
        for place in range(2):
            shown.show(sample, place, ~left if place == 0 else None)
            shown.show(sample, place, None)  # told again, as no validation does: not drawn again
    assert (
        len(drawn) == 2 * prediction_sheet.PAIRS and shown.captions == ["truth", "prediction"] * prediction_sheet.PAIRS
    )
    assert drawn[:4] == [(1, "the dog"), (1, "the dog"), (0, "the kite"), (0, "the kite")]
    shown.write(tmp_path / "new" / "sheet.jpg")
    with Image.open(tmp_path / "new" / "sheet.jpg") as picture:
        assert picture.width > 1000 and picture.format == "JPEG"


def test_speeds_and_the_share_of_waiting(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    window = StepWindow()
    for _ in range(4):
        now[0] += 2.0
        window.add({"mask": 1.0, "total": 3.0}, instructions=6, samples=2, waited=0.5)
    now[0] += 30
    window.exclude(30)  # a validation
    speed = window.speed()
    assert (speed["instructions_per_second"], speed["samples_per_second"]) == (3.0, 1.0)
    assert speed["waiting_for_data"] == 0.25 and 0.05 < speed["memory_gb"] < 100
    line = status(window.means(), speed)
    assert line.startswith("loss 3.00 (mask 1.00)  1.0 samples/s, 25% waiting for data") and line.endswith(" GB")


def test_a_window_continues_from_a_saved_state():
    window, resumed = StepWindow(), StepWindow()
    window.add({"mask": 1.0}, 1)
    resumed.restore(window.state())
    for each in (window, resumed):
        each.add({"mask": 4.0, "text": 2.0}, 1)
    assert window.means() == resumed.means() == {"mask": 2.5, "text": 2.0}


def test_a_log_on_a_full_disk(tmp_path, monkeypatch):
    log = RunLog(tmp_path / "log.jsonl", 0)
    log.write(step=1)

    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_log.Path, "open", refuse)
    with pytest.raises(InputError, match=r"log\.jsonl cannot be written: No space left .* free some space"):
        log.write(step=2)
