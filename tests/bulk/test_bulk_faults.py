"""Bulk jobs that are killed, whose workers die, or whose disk is full: no row is lost, none is there twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_model
from bulk_world import TEXTS, Killer, expected_keys, keys, read_rows, save_inputs, settings

from instructseg.bulk.api import run_batch
from instructseg.bulk.attempts import MAX_DEATHS, Attempts
from instructseg.bulk.items import Item

SUPPORT = Path(__file__).parents[1] / "support"
THIRD = Item("3.jpg", number=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(model, inputs)."""
    folder = tmp_path_factory.mktemp("faults")
    return tiny_model.saved(folder / "tiny"), save_inputs(folder / "in")


@pytest.mark.slow
def test_killed_jobs_and_a_full_disk_end_in_the_same_rows(world, tmp_path):
    pytest.importorskip("resource")
    command = [sys.executable, str(SUPPORT / "bulk_runs.py"), *map(str, world), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["whole"] == told["resumed"] == told["afterwards"] == 0 and told["kills"] >= 2
    assert told["full"] == 3 and "cannot be written: File too large; free some space" in told["said"]
    assert told["kept"] and all(name.startswith("shard-") for name in told["kept"])
    rows = {name: read_rows(tmp_path / name) for name in ("whole", "killed", "full")}
    assert rows["whole"] == rows["killed"] == rows["full"]
    assert {*keys(rows["whole"])} == expected_keys(world[1]) and len(rows["whole"]) == len({*keys(rows["whole"])})


@pytest.mark.long
def test_a_photo_that_kills_workers_is_left_out(world, tmp_path):
    model, inputs = world
    output = tmp_path / "out"
    for _ in range(MAX_DEATHS - 1):  # two deaths of an earlier run
        (output / "attempts").mkdir(parents=True, exist_ok=True)
        attempts = Attempts(output / "attempts", 0).__enter__()
        attempts.reading([Item("", number=1)])
    killer = Killer(output, poison=1)
    killer.start()
    summary = run_batch(inputs, output, TEXTS, workers=1, shards=1, settings=settings(model))
    assert len(killer.killed) == 1
    rows = read_rows(output)
    assert {*keys(rows)} == expected_keys(inputs) and len(rows) == len({*keys(rows)})
    left_out = {row["source"] for row in rows if "worker process died 3 times" in (row["error"] or "")}
    assert left_out == {str(inputs / "001.png")} and summary.errors == 2 * len(TEXTS)


def test_the_journal_tells_deaths_from_ends(tmp_path):
    attempts = Attempts(tmp_path, 7)
    assert not attempts.died and not attempts.deaths
    with pytest.raises(SystemExit), attempts:
        attempts.reading([THIRD])
        raise SystemExit  # a worker that is asked to end
    assert not Attempts(tmp_path, 7).died
    attempts.__enter__().reading([THIRD, Item("4.jpg", number=4)])
    assert Attempts(tmp_path, 7).died and Attempts(tmp_path, 7).deaths == {}  # which of the two is not known
    for count in (1, 2):
        attempts.__enter__().reading([THIRD])
        assert Attempts(tmp_path, 7).deaths == {3: count}
    with (tmp_path / "000007.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"readi')
    with Attempts(tmp_path, 7) as last:
        assert last.deaths == {3: 2} and not last.excludes(THIRD)
    assert not (tmp_path / "000007.jsonl").exists()
