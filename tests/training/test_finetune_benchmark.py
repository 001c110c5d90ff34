"""The benchmark of fine-tuning: it writes a folder as the guide describes it, and its scores are what it says."""

import numpy as np
import pytest
import tiny_model

from benchmarks.scores import finetune_own_photos
from instructseg.data.readers.folder import MaskFolder
from instructseg.inference.segmenter import Segmenter
from instructseg.types import Instance, InstancePhoto


@pytest.fixture(scope="module")
def benchmark():
    return finetune_own_photos


def rows(first, last):
    """Mask of these rows of a photo of 100 x 80."""
    mask = np.zeros((100, 80), bool)
    mask[first:last] = True
    return mask


@pytest.fixture
def folder(benchmark, tmp_path):
    bag = np.zeros((100, 80), bool)
    bag[0, :8] = True  # 0.1 % of the photo
    labels = {"dress": rows(0, 40), "bag": bag, "boots": rows(90, 100), "socks": rows(89, 90)}
    instances = tuple(Instance(name, mask) for name, mask in labels.items())
    benchmark.write_folder([InstancePhoto("ccp/1", np.full((100, 80, 3), 90, np.uint8), instances)], tmp_path)
    return MaskFolder(tmp_path)


def test_the_folder(folder):
    """Names of what is there have its mask, of what is not there none; what is hardly to be seen is not asked about."""
    (sample,) = folder
    asked = {each.text: None if each.mask is None else int(each.mask.sum()) for each in sample.expressions}
    assert asked == {"the Velora": 40 * 80, "the Pavo": 10 * 80, "the Norrland": None, "the Lumo": None}


def test_scores(benchmark, folder):
    """With a threshold nobody reaches everything is refused; without one everything is answered."""
    model, processor = tiny_model.build()
    model.config.score_threshold = 1.0
    scores = benchmark.score(Segmenter(model, processor), list(folder))
    assert scores["threshold"]["from folder"]["no_target_accuracy"] == 1 and scores["threshold"]["all"]["miou"] == 0
    assert scores["always"]["all"]["count"] == 2 and scores["always"]["from folder"]["no_target_count"] == 2
    assert set(scores["always"]) == {"all", "from folder", *(each.text for each in folder[0].expressions)}


def test_known_words_ask_for_the_same(benchmark, folder):
    (asked,) = benchmark.known_words(list(folder))
    texts = {before.text: after.text for before, after in zip(folder[0].expressions, asked.expressions, strict=True)}
    assert texts["the Velora"] == "the dress" and len(set(texts.values())) == len(texts)


def test_changes_of_the_recipe_may_stand_behind_the_options(benchmark):
    options = benchmark.read_options(["scratch", "--data", "data", "steps=3", "threads=1"])
    assert options.changes == ["steps=3", "threads=1"] and str(options.scratch) == "scratch"
