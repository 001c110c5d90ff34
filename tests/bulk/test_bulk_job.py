"""A bulk job in this process: its rows, a second start, new inputs, mended inputs, other settings."""

import json
import os

import numpy as np
import pytest
import tiny_model
from bulk_world import FRAMES, TEXTS, expected_keys, keys, read_rows, save_inputs, save_photo, settings

from instructseg.bulk.api import run_batch
from instructseg.bulk.items import Item
from instructseg.bulk.plan import make_shards
from instructseg.errors import InputError
from instructseg.inference.segmenter import Segmenter
from instructseg.media.masks import mask_to_box, mask_to_rle, rle_to_mask


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.saved(tmp_path_factory.mktemp("bulk") / "tiny")


@pytest.fixture
def world(model, tmp_path):
    """(folder of inputs, output, function that runs the job)."""
    inputs, output = save_inputs(tmp_path / "in"), tmp_path / "in" / "out"  # an output in the input is passed over

    def run(texts=TEXTS, **options):
        return run_batch(inputs, output, texts, workers=0, settings=settings(model), **options)

    return inputs, output, run


def test_rows_are_what_the_segmenter_answers(world, model):
    inputs, output, run = world
    summary = run(shards=3)
    rows = read_rows(output)
    assert len(rows) == len({*keys(rows)}) == summary.rows and {*keys(rows)} == expected_keys(inputs)
    assert summary.errors == len(TEXTS) and summary.items == 9 and summary.shards == 3
    segmenter = Segmenter.load(model, "cpu")
    for row in rows:
        height, width = row["height"], row["width"]
        if row["error"] is not None:
            assert "003-broken.png" in row["error"] and row["masks"] == []
            continue
        if row["kind"] == "photo":
            answer = segmenter.segment(row["source"], row["instruction"], threshold=0.0)
            masks, scores = list(answer.masks), answer.scores
            assert (height, width) == answer.size
        else:
            clip = segmenter.segment_video(row["source"], TEXTS, threshold=0.0)
            at, frame = TEXTS.index(row["instruction"]), clip.frames[row["frame"]]
            masks, scores = [mask for mask in frame.masks[[at]] if mask.any()], frame.scores[[at]][frame.present[[at]]]
            assert row["time"] == frame.time and (height, width) == frame.size
        assert row["masks"] == [mask_to_rle(mask) for mask in masks]
        assert row["found"] == any(mask.any() for mask in masks)
        np.testing.assert_allclose(row["scores"], scores, rtol=1e-4)
        np.testing.assert_array_equal(
            np.reshape(row["boxes"], (-1, 4)), np.reshape([mask_to_box(mask) for mask in masks], (-1, 4))
        )
        assert [rle_to_mask(rle).shape for rle in row["masks"]] == [(height, width)] * len(masks)
        assert row["model"] == str(model) and len(row["model_hash"]) == 16
    assert any(row["found"] for row in rows) and sum(row["frame"] is not None for row in rows) == FRAMES * len(TEXTS)


def test_a_second_start_changes_nothing(world):
    _, output, run = world
    first = run()
    files = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (output / "data").iterdir()}
    assert run() == first
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (output / "data").iterdir()} == files
    assert not any((output / "attempts").iterdir())


def test_new_photos_and_sentences_are_added(world):
    inputs, output, run = world
    run(TEXTS[:1])
    before = read_rows(output)
    save_photo(inputs / "new.png", 7)
    assert run(TEXTS).items == 10
    rows = read_rows(output)
    assert rows[: len(before)] == before
    new = {(str(inputs / "new.png"), None, text, None) for text in TEXTS}
    assert {*keys(rows)} == expected_keys(inputs) | new and len(rows) == len({*keys(rows)})
    assert [row["item"] for row in rows] == sorted(row["item"] for row in rows)


def test_mended_inputs_are_read_again_on_request(world):
    inputs, output, run = world
    run()
    lines = (output / "errors.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["source"] for line in lines] == [str(inputs / "003-broken.png")] * len(TEXTS)
    kept = [row for row in read_rows(output) if row["error"] is None]
    save_photo(inputs / "003-broken.png")
    assert run().errors == len(TEXTS)  # only on request
    summary = run(retry_errors=True)
    assert summary.errors == 0 and (output / "errors.jsonl").read_text(encoding="utf-8") == ""
    rows = read_rows(output)
    assert [row for row in rows if not row["source"].endswith("003-broken.png")] == kept
    assert len([row for row in rows if row["source"].endswith("003-broken.png")]) == len(TEXTS)


def test_a_file_that_a_crash_damaged_is_written_again(world):
    _, output, run = world
    run(shards=3)
    before, path = read_rows(output), output / "data" / "shard-000001.parquet"
    path.write_bytes(path.read_bytes()[:100])
    run(shards=3)
    assert read_rows(output) == before


def test_results_of_other_settings_are_not_mixed(world, model):
    inputs, output, run = world
    run()
    with pytest.raises(InputError, match=r"threshold was 0\.0, now 0\.5"):
        run_batch(inputs, output, TEXTS, workers=0, settings=settings(model, threshold=0.5))


def test_an_output_in_use_is_refused(world):
    fcntl = pytest.importorskip("fcntl")
    _, output, run = world
    run()
    other = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is working"):
            run()
    finally:
        os.close(other)


def test_a_bad_sentence_costs_only_itself(world):
    _, output, run = world
    run(["the red dog", "dog " * 3000])
    rows = [row for row in read_rows(output) if row["source"].endswith("000.png")]
    assert [row["error"] is None for row in rows] == [True, False] and "dog" in rows[1]["instruction"]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"workers": -1}, "workers"), ({"engine": "ray", "workers": 0}, "workers"), ({"engine": "spark"}, "engine"),
     ({"shards": 0}, "shards")],
)  # fmt: skip
def test_wrong_arguments(world, options, message):
    inputs, output, _ = world
    with pytest.raises(InputError, match=message):
        run_batch(inputs, output, TEXTS, **{"workers": 0, **options})


def test_shards_hold_consecutive_items_of_about_equal_work():
    photos = [Item(f"{number}.jpg", ("dog",)) for number in range(100)]
    items = [*photos[:50], Item("a.mp4", ("dog",)), Item("b.mp4", ("dog",)), *photos[50:]]
    shards = make_shards(items, None, first=5)
    assert [*shards] == [5, 6, 7] and [item for shard in shards.values() for item in shard] == items
    assert [len(shard) for shard in shards.values()] == [50, 1, 51]
    assert [len(shard) for shard in make_shards(photos, 4).values()] == [25] * 4
    assert [len(shard) for shard in make_shards(photos * 2, None, workers=2).values()] == [15] * 8 + [16] * 5
    assert len(make_shards(photos * 30, None, workers=2)) == 47 and len(make_shards(photos[:40], None, workers=2)) == 3
    assert make_shards([], 3) == {} and [len(shard) for shard in make_shards(photos[:2], 9).values()] == [1, 1]
