"""The run: killed and resumed, shared by processes, with failures; always the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Photos, Shifted, clip, photo

from instructseg.errors import InputError
from instructseg.evaluation.options import SaveMasks
from instructseg.evaluation.processes import Processes
from instructseg.evaluation.records import read_lines
from instructseg.evaluation.runner import EvaluationJob, draw_indices, run
from instructseg.evaluation.scoring import SCORERS

SUPPORT = Path(__file__).parents[1] / "support"
SOURCE = Path(__file__).parents[2] / "src"
PATHS = f"{SOURCE}:{SUPPORT}:{SUPPORT.parent}/evaluation"


def job(folder, samples=None, predictor=None, scorer="region", **options):
    return EvaluationJob(samples or Photos(7), predictor or Shifted(), SCORERS[scorer], folder, **options)


def finished(folder):
    return (folder / "samples.jsonl").read_bytes()


@pytest.fixture
def reference(tmp_path):
    """The bytes of an uninterrupted run of one process."""
    list(run(job(tmp_path / "reference")))
    return finished(tmp_path / "reference")


def test_records_are_sorted_complete_and_without_times(reference):
    records = [json.loads(line) for line in reference.splitlines()]
    assert [record["index"] for record in records] == list(range(7))
    assert records[3]["id"] == "tiny/3"
    there, absent = records[3]["expressions"]
    # 8 x 8 moved by one column: 7 x 8 in both, 9 x 8 in one
    assert (there["intersection"], there["union"], there["iou"]) == (56, 72, 56 / 72)
    assert (absent["refused"], absent["score"], there["score"]) == (True, 0.0, 0.123457)
    assert b"seconds" not in reference


@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path, reference, stop):
    folder, first, second = tmp_path / "run", Shifted(), Shifted()
    records = run(job(folder, predictor=first))
    for _ in range(stop):
        next(records)
    records.close()
    assert not (folder / "samples.jsonl").exists()
    list(run(job(folder, predictor=second)))
    assert finished(folder) == reference
    assert len(first.calls) == stop and not set(first.calls) & set(second.calls)
    again = Shifted()
    list(run(job(folder, predictor=again)))
    assert again.calls == [] and finished(folder) == reference


def test_a_process_killed_in_the_middle_resumes_to_the_same_bytes(tmp_path, reference):
    folder, journal = tmp_path / "run", tmp_path / "journal"
    script = (
        "from pathlib import Path; from fakes import Photos, Shifted; from test_runner import job;"
        "from instructseg.evaluation.runner import run; import sys;"
        "list(run(job(Path(sys.argv[1]), predictor=Shifted(journal=Path(sys.argv[2]), pause=0.05))))"
    )
    environment = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", script, str(folder), str(journal)], env=environment)
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_text().count("\n") >= 3):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "samples.jsonl").exists()
    rest = Shifted()
    list(run(job(folder, predictor=rest)))
    assert finished(folder) == reference
    assert 0 < len(rest.calls) < 7


@pytest.mark.parametrize("count", [2, 3, 10])
def test_processes_share_the_work_each_sample_once(tmp_path, reference, count):
    """The generators are driven in turn, as processes that wait for each other at the same places would run."""
    import threading

    folder, barrier = tmp_path / "run", threading.Barrier(count)
    systems = [Shifted() for _ in range(count)]

    def work(rank):
        list(run(job(folder, predictor=systems[rank]), Processes(rank, count, barrier.wait)))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(count)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert finished(folder) == reference
    assert sorted(call for system in systems for call in system.calls) == [f"tiny/{index}" for index in range(7)]


@pytest.mark.slow
def test_two_processes_of_torchrun_equal_one(tmp_path, reference):
    """accelerate's processes over gloo, resuming what one process left."""
    folder = tmp_path / "run"
    records = run(job(folder))
    next(records), next(records)
    records.close()
    script = tmp_path / "work.py"
    script.write_text(
        "from pathlib import Path\nimport sys\n"
        "from fakes import Shifted\nfrom test_runner import job\n"
        "from instructseg.evaluation.processes import launched_processes\n"
        "from instructseg.evaluation.runner import run\n"
        "processes, device = launched_processes('cpu')\n"
        "assert (processes.count, device) == (2, 'cpu')\n"
        "system = Shifted(journal=Path(sys.argv[1] + f'.{processes.rank}'))\n"
        "list(run(job(Path(sys.argv[1]), predictor=system), processes))\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, script, folder], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert finished(folder) == reference
    journals = [Path(f"{folder}.{rank}").read_text(encoding="utf-8").split() for rank in range(2)]
    assert sorted(journals[0] + journals[1]) == [f"tiny/{index}" for index in range(2, 7)]
    assert all(journals)


def test_a_failed_sample_is_recorded_as_wrong_and_tried_again(tmp_path, reference):
    folder = tmp_path / "run"
    list(run(job(folder, predictor=Shifted(fails=["tiny/2"]))))
    record = read_lines(folder / "samples.jsonl")[2]
    assert record["error"] == "RuntimeError: no answer to tiny/2"
    there, absent = record["expressions"]
    assert (there["intersection"], there["union"], there["iou"]) == (0, 64, 0.0)
    assert absent["refused"] is False
    repaired = Shifted()
    list(run(job(folder, predictor=repaired)))
    assert repaired.calls == ["tiny/2"]
    assert finished(folder) == reference


def test_a_damaged_sample_does_not_end_the_run(tmp_path):
    list(run(job(tmp_path, samples=Photos(4, broken=[1]))))
    records = read_lines(tmp_path / "samples.jsonl")
    assert [len(record["expressions"]) for record in records] == [2, 0, 2, 2]
    assert "1.jpg is damaged" in records[1]["error"]


def test_wrong_answers_of_a_system_fail_the_sample(tmp_path):
    class TooFew(Shifted):
        def segment_image(self, sample):
            return super().segment_image(sample)[:1]

    class WrongSize(Shifted):
        def segment_image(self, sample):
            return [
                replace(answer, masks=[photo(0).expressions[0].mask[:5]]) for answer in super().segment_image(sample)
            ]

    for name, system, words in (("few", TooFew(), "expected 2 predictions"), ("size", WrongSize(), "(5, 32)")):
        (record,) = run(job(tmp_path / name, samples=Photos(1), predictor=system))
        assert words in record["error"]


def test_records_of_another_plan_are_refused(tmp_path):
    list(run(job(tmp_path, plan={"model": "a", "limit": None})))
    with pytest.raises(InputError, match="model was 'a', now 'b'"):
        list(run(job(tmp_path, plan={"model": "b", "limit": None})))


def test_limit_draws_by_the_seed_and_keeps_the_order():
    assert draw_indices(5, None, 0) == draw_indices(5, 9, 3) == [0, 1, 2, 3, 4]
    drawn = draw_indices(1000, 10, 0)
    assert (
        drawn == sorted(set(drawn))
        and len(drawn) == 10
        and drawn == draw_indices(1000, 10, 0) != draw_indices(1000, 10, 1)
    )


def test_masks_are_kept_as_rle_or_png(tmp_path):
    from instructseg.media.masks import rle_to_mask

    (record,) = run(job(tmp_path / "rle", samples=[clip(0)], scorer="clip", save_masks=SaveMasks.RLE))
    rles = record["expressions"][0]["rles"]
    assert [rle_to_mask(rle).sum() for rle in rles] == [64, 64, 64]
    list(run(job(tmp_path / "png", samples=[photo(3)], save_masks=SaveMasks.PNG)))
    names = sorted(str(path.relative_to(tmp_path / "png")) for path in (tmp_path / "png").rglob("*.png"))
    assert names == ["masks/tiny/3/a3.png", "masks/tiny/3/b3.png"]
