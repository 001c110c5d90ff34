"""Loading refuses weights, configuration and processor that do not belong together, and names what is wrong."""

import json
import os
import shutil

import pytest
import tiny_model
import torch

from instructseg.errors import CheckpointError
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.inference.loading import load_pretrained
from instructseg.inference.segmenter import Segmenter
from instructseg.model.storage import save_compact


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders with the same model: as transformers stores it, in one file and in many, and compact."""
    model, processor = tiny_model.build()
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("full", "sharded", "int8")}
    model.save_pretrained(folders["full"])
    model.save_pretrained(folders["sharded"], max_shard_size="300KB")
    save_compact(model, folders["int8"], shard_bytes=60_000)
    for folder in folders.values():
        processor.save_pretrained(folder)
    return folders


@pytest.fixture(params=["full", "sharded", "int8"])
def folder(request, saved, tmp_path):
    return shutil.copytree(saved[request.param], tmp_path / "model")


def edit(path, change):
    tree = json.loads(path.read_text())
    path.write_text(json.dumps(change(tree) or tree))


def refusal(folder) -> str:
    with pytest.raises(CheckpointError) as error:
        load_pretrained(folder, torch.float32)
    message = str(error.value)
    assert message.startswith(f"cannot load {folder}: ") and "\n" not in message
    return message


OTHER_CONFIGS = {
    "without perceiver": ({"perceiver_config": None}, "perceiver.latents", "not in the model: "),
    "without fusion": ({"text_fusion_config": None}, "pooled_text.weight", "missing: "),
    "more layers": ({"text_config": {"num_hidden_layers": 3}}, "language_model.layers.2", "missing: "),
    "fewer layers": ({"text_config": {"num_hidden_layers": 1}}, "language_model.layers.1", "not in the model: "),
    "more mask tokens": ({"num_mask_tokens": 9}, "mask_tokens (expected 9x32, got 4x32)", "shape mismatch: "),
    "no auxiliary head": (
        {"auxiliary_config": {"pixel_classification": False}},
        "pixel_classification_head.projection.weight",
        "not in the model: ",
    ),
}


@pytest.mark.parametrize("changes, key, what", OTHER_CONFIGS.values(), ids=OTHER_CONFIGS)
def test_weights_of_another_configuration(folder, changes, key, what, caplog):
    def change(tree):
        for name, value in changes.items():
            tree[name] = {**tree[name], **value} if isinstance(value, dict) else value

    edit(folder / "config.json", change)
    message = refusal(folder)
    assert "expected the weights of config.json" in message and key in message and what in message
    assert len(message) < 1200 and not caplog.messages


CONFIGS = {
    "a value of no meaning": ({"projector": "nonsense"}, "projector"),
    "a value of a wrong type": ({"num_mask_tokens": "12"}, "num_mask_tokens"),
    "a negative size": ({"num_mask_tokens": -2}, "negative dimension -2"),
    "another model": ({"model_type": "llama"}, "expected model_type 'instructseg' in config.json, got 'llama'"),
    "no model": ({"model_type": None}, "in config.json, got None"),
    "an unknown part": ({"backbone_config": {"model_type": "nonsense"}}, "nonsense"),
}


@pytest.mark.parametrize("changes, message", CONFIGS.values(), ids=CONFIGS)
def test_configurations_that_describe_no_model(folder, changes, message):
    edit(folder / "config.json", lambda tree: tree.update(changes))
    assert message in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "\x00"])
@pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json"])
def test_files_that_are_not_what_they_should_be(saved, tmp_path, name, text):
    folder = shutil.copytree(saved["full"], tmp_path / "model")
    (folder / name).write_text(text)
    refusal(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "processor_config.json", "tokenizer.json"])
def test_files_that_are_not_there(saved, tmp_path, name):
    folder = shutil.copytree(saved["full"], tmp_path / "model")
    (folder / name).unlink()
    refusal(folder)


@pytest.mark.parametrize("damage", ["truncated", "empty", "pointer"])
def test_damaged_weights(folder, damage):
    weights = next(folder.glob("*.safetensors"))
    if damage == "pointer":  # what a clone without Git LFS leaves there
        weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    else:
        os.truncate(weights, 5000 if damage == "truncated" else 0)
    refusal(folder)


@pytest.mark.parametrize("kind", ["sharded", "int8"])
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": "none.safetensors"}}'])
def test_damaged_lists_of_shards(saved, tmp_path, text, kind):
    folder = shutil.copytree(saved[kind], tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(text)
    refusal(folder)


PROCESSORS = {
    "other frame tokens": ({"frame_tokens": 5}, "expected frame_tokens 3, got 5"),
    "other image tokens": ({"image_tokens": 30}, "expected image_tokens 16, got 30"),
    "other order": ({"block_order": "released"}, "expected block_order image_first, got released"),
}


@pytest.mark.parametrize("changes, message", PROCESSORS.values(), ids=PROCESSORS)
def test_the_processor_of_another_model(saved, tmp_path, changes, message):
    folder = shutil.copytree(saved["full"], tmp_path / "model")
    edit(folder / "processor_config.json", lambda tree: tree.update(changes))
    assert f"the processor does not fit the model: {message}" in refusal(folder)


def test_a_tokenizer_without_the_mask_token(saved, tmp_path):
    folder = shutil.copytree(saved["full"], tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        path.write_text(path.read_text().replace("[SEG]", "[MASK]"))
    assert "expected a tokenizer with a [SEG] token" in refusal(folder)


def test_parts_put_together_by_hand():
    model, _ = tiny_model.build(perceiver_config=None)
    _, processor = tiny_model.build()
    with pytest.raises(CheckpointError, match="expected frame_tokens 0, got 3"):
        Segmenter(model, processor)


def test_what_fits_loads(folder):
    model, processor = load_pretrained(folder, torch.bfloat16, "eager")
    assert model.dtype == torch.bfloat16 and processor.mask_tokens == model.config.num_mask_tokens


def test_a_shard_that_is_not_there(saved, tmp_path):
    folder = shutil.copytree(saved["sharded"], tmp_path / "model")
    gone = sorted(folder.glob("*.safetensors"))[1]
    gone.unlink()
    assert gone.name in refusal(folder)


@pytest.mark.parametrize("kind", ["full", "sharded"])
def test_loaded_weights_are_the_stored_ones_and_no_longer_the_files(saved, tmp_path, kind):
    """A folder may be written again, by a training that goes on from it, while its model is in use."""
    folder = shutil.copytree(saved[kind], tmp_path / "model")
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) == 1 or kind == "sharded"
    weights = load_pretrained(folder, torch.float32)[0].state_dict()
    for file in files:
        file.write_bytes(bytes(file.stat().st_size))
    stored = tiny_model.build()[0].state_dict()
    assert stored.keys() == weights.keys()
    assert all(torch.equal(weights[name], value) for name, value in stored.items())


def test_the_authors_files_are_to_be_converted(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "mipha_phi"}')
    assert "instructseg convert released" in refusal(tmp_path) and "authors' files" in refusal(tmp_path)


def test_authors_weights_without_a_configuration_are_to_be_converted(tmp_path):
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"x")
    with pytest.raises(
        CheckpointError, match=r"got weights alone; convert .* instructseg convert released .* DST, and pass DST"
    ):
        find_checkpoint(tmp_path)
