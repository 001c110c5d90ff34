"""Files of weights: every kind read alike, and nothing in them is run."""

import codecs
import json
import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from instructseg.conversion.reading import WeightFiles
from instructseg.errors import CheckpointError


@pytest.fixture
def tensors():
    torch.manual_seed(0)
    return {"a.weight": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2).half()}


def shard(tensors, folder, suffix, index):
    """Two shards and their index, as transformers writes them."""
    parts = [dict(list(tensors.items())[:2]), dict(list(tensors.items())[2:])]
    names = [f"part-{at}{suffix}" for at in range(2)]
    for name, part in zip(names, parts, strict=True):
        save_file(part, folder / name) if suffix == ".safetensors" else torch.save(part, folder / name)
    weight_map = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (folder / index).write_text(json.dumps({"weight_map": weight_map}))


WRITERS = {
    "safetensors": lambda t, d: save_file(t, d / "model.safetensors"),
    "bin": lambda t, d: torch.save(t, d / "pytorch_model.bin"),
    "sharded safetensors": lambda t, d: shard(t, d, ".safetensors", "model.safetensors.index.json"),
    "sharded bin": lambda t, d: shard(t, d, ".bin", "pytorch_model.bin.index.json"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_kind_of_folder(write, tensors, tmp_path):
    write(tensors, tmp_path)
    weights = WeightFiles(tmp_path)
    assert weights.shapes() == {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    read = dict(weights.tensors())
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[key], tensors[key]) and read[key].dtype == tensors[key].dtype for key in tensors)
    digests = weights.hashes()
    assert digests.keys() == {file.name for file in weights.files} and all(len(d) == 64 for d in digests.values())


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_detectron2_pickles(protocol, tensors, tmp_path):
    arrays = {key: tensor.numpy() for key, tensor in tensors.items()}
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps({"model": arrays, "__author__": "someone", "matching": True}, protocol))
    read = dict(WeightFiles(file).tensors())
    assert all(torch.equal(read[key], tensors[key]) for key in tensors)


class Trap:
    """Creates a file when it is unpickled by anything that trusts it."""

    def __init__(self, call, *arguments):
        self.made = call, arguments

    def __reduce__(self):
        return self.made


TRAPS = {
    "a command": lambda path: Trap(os.system, f"touch {path}"),
    "an opened file": lambda path: Trap(open, str(path), "w"),
    "evaluated code": lambda path: Trap(eval, f"open({str(path)!r}, 'w')"),
    "numpy's own loader": lambda path: Trap(np.save, str(path), np.zeros(1)),
    "another codec": lambda path: Trap(codecs.encode, "x", "rot13"),
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
@pytest.mark.parametrize("place", ["in the table", "in an array", "beside the table"])
@pytest.mark.parametrize("name", ["model.pkl", "pytorch_model.bin"])
def test_malicious_files_are_refused_and_nothing_runs(trap, place, name, tmp_path):
    victim = tmp_path / "victim"
    arrays = {"weight": np.zeros(3)}
    if place == "in the table":
        arrays["extra"] = trap(victim)
    elif place == "in an array":
        arrays["extra"] = np.array([trap(victim)], dtype=object)
    tree = {"model": arrays} | ({"extra": trap(victim)} if place == "beside the table" else {})
    file = tmp_path / name
    if name.endswith(".pkl"):
        file.write_bytes(pickle.dumps(tree))
    else:
        torch.save(tree, file)
    with pytest.raises(CheckpointError, match=name):
        WeightFiles(file).shapes()
    assert not victim.exists() and not list(tmp_path.glob("victim*"))


def test_arrays_of_objects_are_no_weights(tmp_path):
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps({"model": {"weight": np.array(["text"], dtype=object)}}))
    with pytest.raises(CheckpointError, match="expected named tensors in"):
        WeightFiles(file).shapes()


def test_what_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        WeightFiles(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"expected one of .* got none"):
        WeightFiles(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"gone\.safetensors is missing"):
        WeightFiles(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../gone.safetensors"}}))
    with pytest.raises(CheckpointError, match="got paths outside"):
        WeightFiles(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("[1")
    with pytest.raises(CheckpointError, match="cannot be read"):
        WeightFiles(tmp_path)


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.bin", "broken.pkl"])
def test_broken_files(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x10\x00broken")
    with pytest.raises(CheckpointError, match=name):
        WeightFiles(tmp_path / name).shapes()


def test_a_name_in_two_shards_is_refused(tmp_path):
    for at in range(2):
        save_file({"a": torch.zeros(1)}, tmp_path / f"part-{at}.safetensors")
    index = {"weight_map": {"a": "part-0.safetensors", "b": "part-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"expected a in one file, got it in .* and another"):
        WeightFiles(tmp_path).shapes()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_mutated_torch_files(legacy, tensors, tmp_path):
    """A right tensor or one error, whatever torch, zipfile, struct and pickle raise."""
    torch.save(tensors, tmp_path / "good.bin", _use_new_zipfile_serialization=not legacy)
    good, random = (tmp_path / "good.bin").read_bytes(), np.random.default_rng(0)
    file, refused = tmp_path / "mutated.bin", 0
    for _ in range(60):
        content = bytearray(good)
        for place in random.integers(0, len(good) // (6 if legacy else 1), 4):
            content[place] = random.integers(0, 256)
        file.write_bytes(content)
        try:
            read = dict(WeightFiles(file).tensors())
        except CheckpointError as error:
            refused += 1
            assert "mutated.bin" in str(error) and "\n" not in str(error)
        else:
            assert all(isinstance(tensor, torch.Tensor) for tensor in read.values())
    assert refused
