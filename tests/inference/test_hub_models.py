"""Models by hub id, read from a fake cache: whole and compact weights, revisions, tokens, and what is refused."""

import shutil

import pytest
import tiny_model
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from instructseg.errors import CheckpointError
from instructseg.inference.segmenter import Segmenter
from instructseg.model import snapshot, storage
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor

NAME, FIRST, SECOND = "me/tiny", "1" * 40, "2" * 40


@pytest.fixture(scope="module")
def tiny():
    return tiny_model.build()


@pytest.fixture(scope="module")
def hub_cache(tiny, tmp_path_factory):
    """A hub cache with two commits of one repository: compact weights on "main", whole ones of another seed as "v1"."""
    root = tmp_path_factory.mktemp("hub")
    repository = root / "models--me--tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "SMALLEST", 256)
        storage.save_compact(tiny[0], repository / "snapshots" / FIRST)
    tiny_model.build(seed=1)[0].save_pretrained(repository / "snapshots" / SECOND)
    for commit in (FIRST, SECOND):
        tiny[1].save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    for reference, commit in (("main", FIRST), ("v1", SECOND)):
        (repository / "refs" / reference).write_text(commit)
    return root


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def weights_of(model):
    return model.state_dict()


def assert_equal(first, second):
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_compact_weights_of_a_hub_id_are_those_of_its_folder(tiny, hub_cache):
    folder = hub_cache / "models--me--tiny" / "snapshots" / FIRST
    local = weights_of(InstructSegModel.from_pretrained(folder))
    by_id, info = InstructSegModel.from_pretrained(NAME, cache_dir=hub_cache, output_loading_info=True)
    assert not any(info.values()), info
    assert_equal(weights_of(by_id), local)
    for name, stored in weights_of(tiny[0]).items():  # and they are the weights that were saved, to int8's rounding
        largest = stored.abs().amax(tuple(range(1, stored.ndim)), keepdim=True) if stored.ndim > 1 else stored.abs()
        assert ((local[name] - stored).abs() <= largest / 127 + 1e-6).all(), name


@pytest.mark.parametrize("revision, seed", [("v1", 1), (SECOND, 1), (None, 0), ("main", 0)])
def test_a_revision_is_a_branch_a_tag_or_a_commit(hub_cache, revision, seed):
    segmenter = Segmenter.load(NAME, revision=revision, cache_dir=hub_cache, token="secret")
    loaded, expected = weights_of(segmenter.model), weights_of(tiny_model.build(seed=seed)[0])
    assert (loaded["mask_tokens"] - expected["mask_tokens"]).abs().max() < 0.05


def test_the_default_cache_is_the_hubs_own(hub_cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub_cache))
    assert InstructSegModel.from_pretrained(NAME, revision="v1").num_parameters() > 0
    assert Segmenter.load(NAME).name == NAME
    processor = InstructSegProcessor.from_pretrained(NAME, cache_dir=hub_cache)
    assert processor.mask_tokens == 4


def test_how_a_repository_is_fetched_is_passed_on(hub_cache, monkeypatch):
    asked = []
    monkeypatch.setattr(
        snapshot, "snapshot_download",
        lambda name, **options: asked.append((name, options)) or str(hub_cache / "models--me--tiny/snapshots" / SECOND),
    )  # fmt: skip
    InstructSegModel.from_pretrained(NAME, revision="v1", token="secret", cache_dir="/c", force_download=True)
    Segmenter.load(NAME, revision="v1", token="secret", cache_dir="/c")
    chosen = {"revision": "v1", "token": "secret", "cache_dir": "/c", "allow_patterns": snapshot.FILES}
    assert asked == [(NAME, {**chosen, "force_download": True}), (NAME, chosen)]


@pytest.mark.parametrize("load", [Segmenter.load, InstructSegModel.from_pretrained])
@pytest.mark.parametrize("name, options", [("me/other", {}), (NAME, {"revision": "v9"})])
def test_what_is_neither_cached_nor_reachable(hub_cache, load, name, options):
    with pytest.raises(CheckpointError, match=f"{name}.* is neither a folder nor a model in the hub's cache") as error:
        load(name, cache_dir=hub_cache, **options)
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)


def damaged(hub_cache, tmp_path, change):
    folder = shutil.copytree(hub_cache / "models--me--tiny" / "snapshots" / SECOND, tmp_path / "model")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def test_an_unexpected_or_missing_tensor_is_an_error(hub_cache, tmp_path):
    folder = damaged(hub_cache, tmp_path, lambda tensors: tensors.update(other=torch.zeros(2)))
    with pytest.raises(CheckpointError, match="got not in the model: other"):
        InstructSegModel.from_pretrained(folder)
    model, info = InstructSegModel.from_pretrained(folder, output_loading_info=True)  # the caller looks himself
    assert info["unexpected_keys"] == {"other"} and model
    shutil.rmtree(folder)
    folder = damaged(hub_cache, tmp_path, lambda tensors: tensors.pop("mask_tokens"))
    with pytest.raises(CheckpointError, match="got missing: mask_tokens"):
        InstructSegModel.from_pretrained(folder, dtype=torch.bfloat16)


def test_int8_is_never_read_as_floats(hub_cache, tmp_path, tiny):
    """Compact files whose configuration has lost the mark, whichever configuration is asked for."""
    folder = shutil.copytree(hub_cache / "models--me--tiny" / "snapshots" / FIRST, tmp_path / "model")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"weight_storage": "int8"', '"weight_storage": null'))
    for options in ({}, {"config": tiny_model.config(selection="score_x_quality")}, {"output_loading_info": True}):
        with pytest.raises(CheckpointError, match=r"row_scale"):
            InstructSegModel.from_pretrained(folder, **options)


def test_the_authors_files_are_named_by_every_way_of_loading(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mipha_phi"}')
    for load in (Segmenter.load, InstructSegModel.from_pretrained):
        with pytest.raises(CheckpointError, match=f"convert them once: instructseg convert released {tmp_path} DST"):
            load(tmp_path)
