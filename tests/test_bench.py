"""`instructseg bench`: files are written as it goes, failing parts are recorded, tables come from the files."""

import json
import subprocess
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from typer.testing import CliRunner

from instructseg.bench import busy, curves, metrics, models, onnx, photo, report, startup, timing, train, video
from instructseg.bench.gpu import answers, compiled, inference, training
from instructseg.bench.gpu import part as gpu_part
from instructseg.bench.gpu import run as gpu_run
from instructseg.bench.inputs import example_photos
from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.roofline import Limits, tensor_bytes
from instructseg.bench.targets import TARGETS
from instructseg.cli import app
from instructseg.errors import InputError
from instructseg.onnx_export.writing import graphs_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny():
    return models.open_model("tiny", "cpu")


@pytest.fixture
def options(tmp_path):
    return Options("tiny", "cpu", output=tmp_path, runs=1)


@pytest.fixture
def fast(tiny, monkeypatch):
    """One model for all parts, and no time spent on the machine's rates."""
    limits = lambda *_: Limits(1e9, 1e9)  # noqa: E731
    for module in (photo, video, curves, inference, answers):
        monkeypatch.setattr(module, "open_model", lambda *_, **__: tiny)
    for module in (photo, inference):
        monkeypatch.setattr(module, "measure_limits", limits)


def without_failures(content):
    failed = {name: value for name, value in content.items() if isinstance(value, dict) and "failed" in value}
    assert failed == {}
    return content


def test_photo(options, fast):
    content = without_failures(photo.run(options).content)
    assert json.loads((options.output / "bench_photo_tiny.json").read_text()) == content
    assert content["answers"]["largest share of pixels that differ"] == 0
    ratio = content["first text on a photo"]["released schedule / ours"]
    assert ratio["lowest"] <= ratio["median"] <= ratio["highest"]
    rows = content["stages"]
    assert {"CLIP-type encoder", "language model", "mask decoder", "pixel decoder"} < set(rows)
    assert all(row["gflop"] > 0 for name, row in rows.items() if name not in ("preparing the photo",))
    assert content["weights"] and content["versions"]["torch"] and content["seed"] == 0


def test_video(options, fast, monkeypatch):
    monkeypatch.setitem(video.FRAMES, "tiny", 2)
    monkeypatch.setitem(video.PLAIN_FRAMES, "tiny", 1)
    content = without_failures(video.run(options).content)
    assert content["share of pixels that differ"] == 0
    assert content["frames per second, 8 texts"]["median"] > 0


def test_curves_and_the_report(options, fast):
    without_failures(curves.run(options).content)
    document = options.output / "performance.md"
    document.write_text(f"before\n{report.BEGIN}\nOUTDATED\n{report.END}\nafter\n")
    done = CliRunner().invoke(app, ["bench", "report", str(options.output), "--into", str(document)])
    assert done.exit_code == 0, done.output
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "OUTDATED" not in text
    assert text.count("not measured") == len(TARGETS)
    assert "![bench_curves_tiny](bench_curves_tiny.png)" in text.replace("](./", "](") and "report.md)" in text
    assert "| reference frames: 2: seconds |" in (options.output / "report.md").read_text()
    assert (options.output / "bench_curves_tiny.png").stat().st_size > 5000
    (options.output / "bench_photo_nano.json").write_text("{")
    with pytest.raises(InputError, match="bench_photo_nano"):
        report.write_report(options.output)


def test_targets_are_read_from_the_files():
    results = {"photo_nano": {"first text on a photo": {"ours": {"median": 0.1}}}}
    rows = report.target_table(results).splitlines()
    assert rows[2] == "| nano, first text on a photo | <= 0.13 s | 0.1 s | yes |"


def test_metrics(options):
    content = without_failures(metrics.run(options, pairs=3, matchings=1).content)
    assert content["one pair"]["largest difference of values"] < 1e-12
    assert content["three objects by three proposals"]["cases"] == 1


class InTorch:
    """A session of onnxruntime that computes in torch; every output is `apart` too large."""

    def __init__(self, graph, apart):
        self.graph, self.apart = graph, apart
        self.names = list(graph.module(graph.inputs))

    def get_inputs(self):
        return [SimpleNamespace(name=name) for name in self.graph.inputs]

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in self.names]

    def run(self, _, feed):
        found = self.graph.module({name: torch.from_numpy(array) for name, array in feed.items()})
        return [found[name].detach().numpy() + self.apart for name in self.names]


def test_onnx(options, tiny, monkeypatch):
    """All but the exporter, which tests/onnx_export has: calls in turn, sizes of files, and differences."""
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    graphs = graphs_of(tiny.model, tiny.processor)
    monkeypatch.setattr(onnx, "check_installed", lambda: None)
    monkeypatch.setattr(onnx, "open_model", lambda *_, **__: tiny)
    monkeypatch.setattr(onnx, "open_graph", lambda path: InTorch(graphs[path.stem], 0.5 * (path.stem == "encode")))
    monkeypatch.setattr(onnx, "write_onnx", lambda *places: (places[-1].mkdir(), (places[-1] / "a").write_text("b")))
    content = without_failures(onnx.run(options).content)
    assert json.loads((options.output / "bench_onnx_tiny.json").read_text()) == content
    assert content["eight texts: answer"]["torch / onnxruntime"]["median"] > 0 and content["file sizes"] == {"a": 1}
    apart = content["largest differences"]
    assert content["largest difference"] == apart["photo: encode"] > 0.1
    assert max(apart["one text: answer"], apart["prompt's beginning: prefix"]) < 1e-5


def test_startup(options, monkeypatch):
    monkeypatch.setattr(startup, "commands", lambda: {"segment": ["-c", "print('segmented')"]})
    monkeypatch.setattr(startup, "LIBRARY", "import sys")
    section = without_failures(startup.run(options).content)["segment"]
    assert section["now, megabytes"]["median"] > 5 and section["library / now, seconds"]["median"] > 0


def test_busy(options, monkeypatch):
    """The variants differ in company and environment; the loops end with the block."""
    show = "import os, time; time.sleep(0.01); assert os.environ['GOMP_SPINCOUNT'] in ('11', '300000')"
    monkeypatch.setenv("GOMP_SPINCOUNT", "11")
    monkeypatch.setattr(busy, "commands", lambda clip: {f"{len(list(clip.iterdir()))} frames": ["-c", show]})
    content = without_failures(busy.run(options).content)
    section = content["8 frames"]
    assert section["runs"] == 1 and section["busy / idle"]["median"] == content["largest busy / idle"] > 0
    policy = section["policy / libgomp's spin, idle"]["median"]
    assert content["largest cost of the policy, percent"] == pytest.approx(100 * (policy - 1), rel=1e-2, abs=0.1)
    with busy.busy_loops(1):
        assert [child.name() for child in psutil.Process().children()]
    assert not psutil.Process().children()


def test_the_model_is_the_same_for_the_same_seed(tiny):
    again, other = (models.open_model("tiny", "cpu", seed=seed) for seed in (0, 1))
    hashes = [models.describe(each, "tiny", 0)["weights"] for each in (tiny, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(example_photos(7)) == 7


class Clock:
    """Calls that take a second each, by their own clock."""

    def __init__(self, monkeypatch):
        self.now, self.order = 0.0, []
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def call(self, name, seconds):
        def run():
            self.order.append(name)
            self.now += seconds

        return run


def test_calls_take_turns(monkeypatch):
    clock, seen = Clock(monkeypatch), []
    calls = {"plain": clock.call("plain", 4.0), "ours": clock.call("ours", 2.0)}
    table = timing.take_turns(calls, 3, CPU, on_round=lambda rows: seen.append(rows["runs"]))
    assert clock.order == ["plain", "ours", "plain", "ours", "ours", "plain", "plain", "ours"]
    assert table["plain / ours"] == {"median": 2.0, "lowest": 2.0, "highest": 2.0} and seen == [1, 2, 3]


def test_a_stopped_run_keeps_what_it_has(options):
    file = Report("photo", options)
    with failures_recorded(file, "broken"):
        raise ValueError("no such thing")
    with pytest.raises(KeyboardInterrupt), failures_recorded(file, "stopped"):
        raise KeyboardInterrupt
    kept = json.loads(file.path.read_text())
    assert kept["broken"] == {"failed": "ValueError: no such thing"} and "stopped" not in kept


def test_bytes_and_limits():
    tensor = torch.zeros(10)
    assert tensor_bytes(tensor, [tensor, torch.zeros(2)]) == 48
    assert Limits(flops=10, bytes=5).seconds(100, 100) == 20


@pytest.mark.parametrize("name", ["machine", "photos", "clips", "answers"])
def test_parts_of_the_gpu_check(name, fast, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "BATCHES", (1,))
    monkeypatch.setattr(inference, "TEXT_COUNTS", (1,))
    settings = {"function": name, "scale": "tiny", "device": "cpu", "runs": 1}
    if name == "answers":  # it changes the model's number format
        monkeypatch.setattr(answers, "open_model", models.open_model)
    gpu_part.run(settings, tmp_path / "result.json")
    content = json.loads((tmp_path / "result.json").read_text())
    if name == "answers":
        assert content["float32"]["mean_difference_of_mask_logits"] == 0 and content["bfloat16"]["iou"] > 0.9
    assert {"machine": "bfloat16", "photos": "stages", "clips": "1 texts", "answers": "float32"}[name] in content


def test_answers_beyond_the_tolerance_are_seen():
    masks, scores = np.random.default_rng(0).standard_normal((2, 1, 4, 8, 8)).astype(np.float32)
    right = answers.compare([(masks, scores)], [(masks, scores)], "float32")
    wrong = answers.compare([(masks + 0.1, scores)], [(masks, scores)], "float32")
    assert right["within_tolerance"] and right["iou"] == 1 and not wrong["within_tolerance"]


def test_each_part_of_the_gpu_check_fails_alone(options, monkeypatch):
    """A part that raises, one that hangs, one that is out of budget; the file has them all."""
    words = {"broken": "import sys; sys.exit('CUDA error: out of memory')", "slow": "import time; time.sleep(60)"}
    stand_in = SimpleNamespace(
        TimeoutExpired=subprocess.TimeoutExpired,
        run=lambda command, **keywords: subprocess.run(
            [command[0], "-c", words[json.loads(command[3])["function"]]], **keywords
        ),
    )
    monkeypatch.setattr(gpu_run, "subprocess", stand_in)
    limits = {"broken": 30, "slow": 1, "late": 30}
    parts = tuple(gpu_run.Part(name, name, "nano", limit) for name, limit in limits.items())
    now = iter((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 9.0))
    monkeypatch.setattr(gpu_run, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    written = gpu_run.run(replace(options, scale="nano"), budget=10, parts=parts)
    assert written.content["broken"]["failed"] == "CUDA error: out of memory"
    assert written.content["slow"]["failed"] == "stopped after 1 s"
    assert json.loads(written.path.read_text())["late"] == {"not run": "the budget of 10 s was used up"}


@pytest.mark.slow
def test_training(options, monkeypatch):
    monkeypatch.setattr(train, "VARIANTS", {"plain": ("data.workers=0",)})
    section = without_failures(train.run(options).content)["plain"]
    assert section["samples_per_second"] > 0 and section["backward"]["median"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("function", [training.training, compiled.compiled])
def test_slow_parts_of_the_gpu_check(function, tmp_path):
    result = gpu_part.PartResult(tmp_path / "result.json", {})
    function(gpu_part.Settings("tiny", "cpu", runs=1), result)
    assert (
        result.content.get("gradient_checkpointing", True) and result.content.get("share_of_pixels_that_differ", 0) == 0
    )
