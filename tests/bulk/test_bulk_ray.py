"""Bulk jobs and evaluation on a real local Ray with 2 workers; skipped where ray is not installed."""

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest
import tiny_model
from bulk_world import TEXTS, Killer, expected_keys, keys, read_rows, save_inputs, settings
from PIL import Image
from time_limit import time_limit

from instructseg.bulk.api import run_batch
from instructseg.bulk.engines.ray import actor_options, connected
from instructseg.evaluation.api import evaluate
from instructseg.media.masks import mask_to_rle
from instructseg.threads import usable_cpus

pytest.importorskip("ray", reason="ray is not installed: pip install 'instructseg[ray]'")
pytestmark = pytest.mark.slow

DRIVER = """
import sys
from bulk_world import TEXTS, settings
from instructseg.bulk.api import run_batch
from instructseg.bulk.engines.ray import actor_options, connected
run_batch(sys.argv[2], sys.argv[3], TEXTS, engine="ray", workers=2, shards=6, settings=settings(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def limited():
    """Each test waits for processes of Ray: one that does not come must not hang the suite."""
    with time_limit():
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(model, inputs, rows of the local engine)."""
    folder = tmp_path_factory.mktemp("ray")
    model, inputs = tiny_model.saved(folder / "tiny"), save_inputs(folder / "in")
    run_batch(inputs, folder / "local", TEXTS, workers=0, shards=6, settings=settings(model))
    return model, inputs, read_rows(folder / "local")


@pytest.fixture(scope="module")
def cluster():
    """A local Ray of 2 workers, or the one that runs already; the threads of an actor, None for one that runs."""
    with ExitStack() as stack:
        with time_limit():
            threads = stack.enter_context(connected(2))
        yield threads


def same(rows, expected):
    """Whether two jobs have the same rows; scores may differ in rounding after a repeated shard."""
    assert keys(rows) == keys(expected)
    for row, other in zip(rows, expected, strict=True):
        assert {**row, "scores": 0} == {**other, "scores": 0}
        np.testing.assert_allclose(row["scores"], other["scores"], rtol=1e-4)


def test_a_killed_driver_is_continued(world, tmp_path):
    model, inputs, expected = world
    output = tmp_path / "out"
    command = [sys.executable, "-c", DRIVER, str(model), str(inputs), str(output)]
    support = os.path.dirname(os.path.abspath(settings.__code__.co_filename))
    path = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as driver:
        try:
            while driver.poll() is None and not any((output / "data").glob("*.parquet")):
                time.sleep(0.01)
        finally:
            driver.kill()
    first = len(list((output / "data").glob("*.parquet")))
    assert first >= 1
    run_batch(inputs, output, TEXTS, workers=0, shards=6, settings=settings(model))
    same(read_rows(output), expected)


def test_a_killed_worker_is_replaced(world, tmp_path, cluster):
    model, inputs, expected = world
    output = tmp_path / "out"
    killer = Killer(output)
    killer.start()
    summary = run_batch(inputs, output, TEXTS, engine="ray", workers=2, shards=6, settings=settings(model))
    assert len(killer.killed) == 1 and summary.errors == len(TEXTS)
    same(read_rows(output), expected)
    assert {*keys(expected)} == expected_keys(inputs)


def test_actors_share_the_cores_at_the_priority_of_this_process(cluster):
    import ray

    if cluster is None:
        pytest.skip("a Ray that runs already has its own settings")
    assert cluster == max(1, usable_cpus() // 2) and ray.cluster_resources()["CPU"] == 2
    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)
    gpus = ray.cluster_resources().get("GPU", 0)
    assert [actor_options(device)["num_gpus"] for device in ("cpu", "cuda", "auto")] == [0, 1, int(gpus > 0)]


def test_evaluation_gives_the_same_bytes(tmp_path, cluster):
    data, model = tmp_path / "data", tiny_model.saved(tmp_path / "tiny")
    root = data / "mevis" / "valid_u"
    write_clips(root)
    outputs = {}
    for engine in ("local", "ray"):
        result = evaluate(
            str(model),
            ["mevis/valid_u"],
            data,
            tmp_path / engine,
            engine=engine,
            workers=2,
            device="cpu",
            save_masks="rle",
        )
        assert result is not None and not result.failures
        outputs[engine] = (tmp_path / engine / "mevis" / "valid_u" / "samples.jsonl").read_bytes()
    assert outputs["local"] == outputs["ray"] and outputs["local"].count(b"\n") == 3


def write_clips(root):
    """Three clips of two frames in MeViS's layout."""
    videos, codes = {}, {}
    for number in range(3):
        expressions = {"0": {"exp": "the red dog", "obj_id": [0], "anno_id": [number]}}
        videos[f"clip{number}"] = {"vid_id": number, "frames": ["00000", "00001"], "expressions": expressions}
        mask = np.zeros((24, 32), bool)
        mask[4:12, 4 + number : 14] = True
        codes[str(number)] = [mask_to_rle(mask)] * 2
        for frame in range(2):
            path = root / "JPEGImages" / f"clip{number}" / f"{frame:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tiny_model.photo(24, 32, 10 * number + frame)).save(path)
    (root / "meta_expressions.json").write_text(json.dumps({"videos": videos}), encoding="utf-8")
    (root / "mask_dict.json").write_text(json.dumps(codes), encoding="utf-8")
