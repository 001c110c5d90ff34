"""Runs killed without warning, or stopped by a full disk, end with the weights of a run that nothing disturbed."""

import json

import pytest
from painted_world import REPOSITORY, apart, found, python, weights_of

from instructseg.training.logging.run_log import read_log


@pytest.mark.slow
def test_runs_killed_at_any_moment_and_a_full_disk(tmp_path):
    """One test: the runs take a minute, and processes of pytest would each repeat them."""
    told = result_of(found(tmp_path))
    killed_at_any_moment(told)
    the_log_of_a_killed_run_tells_every_step_once(told)
    a_full_disk(told)


def result_of(folder):
    """What became of the runs, and their folder."""
    done = python(REPOSITORY / "tests" / "support" / "interrupted_runs.py", folder / "recipe.yaml", folder, 5)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), folder


def lines(folder):
    """The log without what depends on the clock."""
    kept = ("step", "losses", "learning_rate", "instructions", "validation")
    return [{key: line[key] for key in kept if key in line} for line in read_log(folder / "log.jsonl")]


def killed_at_any_moment(told):
    result, folder = told
    assert result["whole"] == result["resumed"] == 0
    assert result["kills"] >= 3, "most children must have been killed in the middle of their work"
    assert apart(weights_of(folder / "whole"), weights_of(folder / "killed")) == []


def the_log_of_a_killed_run_tells_every_step_once(told):
    _, folder = told
    assert lines(folder / "killed") == lines(folder / "whole")
    assert [line["step"] for line in lines(folder / "whole")] == [10, 10, 12]


def a_full_disk(told):
    """An error in one line, the last good checkpoint kept; with room again the run goes on as if nothing had been."""
    result, folder = told
    assert result["full"] == 3
    assert result["said"].startswith("CheckpointError: cannot write a checkpoint to")
    assert result["said"].endswith("(the last checkpoint is kept)")
    assert result["kept"] == ["last.pt", "previous.pt"]
    assert result["afterwards"] == 0
    assert apart(weights_of(folder / "whole"), weights_of(folder / "full")) == []
