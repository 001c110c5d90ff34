"""Compact weights: small rounding, small files, and nothing left of them in the model."""

import json
from pathlib import Path

import pytest
import tiny_model
import torch
from safetensors.torch import save_file

from instructseg.errors import CheckpointError
from instructseg.model import storage
from instructseg.model.four_bits import pack_groups, unpack_groups
from instructseg.model.modeling import InstructSegModel


@pytest.fixture(autouse=True)
def small_matrices_too(monkeypatch):
    monkeypatch.setattr(storage, "SMALLEST", 256)


@pytest.fixture(scope="module")
def tiny():
    return tiny_model.build()


def test_each_row_is_rounded_by_half_a_step_at_most():
    torch.manual_seed(0)
    matrix = torch.randn(40, 30) * torch.logspace(-6, 3, 40)[:, None]
    matrix[3] = 0
    packed = storage.pack("w", matrix, "int8")
    assert packed["w"].dtype == torch.int8 and packed["w" + storage.SCALE].shape == (40, 1)
    back = packed["w"].float() * packed["w" + storage.SCALE]
    steps = matrix.abs().amax(1, keepdim=True) / 127
    assert ((back - matrix).abs() <= 0.5001 * steps).all() and not back[3].any()


def test_the_rest_is_bfloat16_or_as_it_is():
    vector, narrow, counts = torch.randn(300), torch.randn(256, 1, 3, 3), torch.arange(3)
    assert storage.pack("v", vector, "int8")["v"].dtype == torch.bfloat16
    assert storage.pack("i", narrow, "int4")["i"].dtype == torch.bfloat16
    assert torch.equal(storage.pack("c", counts, "int8")["c"], counts)


def test_each_channel_of_a_convolution_is_rounded_by_half_a_step_at_most():
    torch.manual_seed(1)
    kernel = torch.randn(8, 4, 3, 3) * torch.logspace(-3, 3, 8)[:, None, None, None]
    packed = storage.pack("w", kernel, "int4")
    assert packed["w"].dtype == torch.int8 and packed["w" + storage.SCALE].shape == (8, 1, 1, 1)
    back = packed["w"].float() * packed["w" + storage.SCALE]
    assert ((back - kernel).abs() <= 0.5001 * kernel.abs().amax((1, 2, 3), keepdim=True) / 127).all()


def test_four_bits_are_for_the_language_model_and_the_perceiver():
    matrix = torch.randn(20, 64)
    kinds = {name: storage.pack(name, matrix, "int4")[name].dtype for name in
             ("language_model.a", "perceiver.b", "mask_decoder.c")}  # fmt: skip
    assert list(kinds.values()) == [torch.uint8, torch.uint8, torch.int8]
    assert storage.pack("language_model.a", matrix, "int8")["language_model.a"].dtype == torch.int8
    odd = storage.pack("language_model.a", torch.randn(20, 50), "int4")
    assert odd["language_model.a"].dtype == torch.int8


def test_four_bit_matrices_take_an_eighth_and_keep_their_values():
    torch.manual_seed(2)
    matrix = torch.randn(5000, 96) * torch.logspace(-3, 2, 5000)[:, None]
    matrix[7] = 0
    codes, scales = pack_groups(matrix)
    assert codes.numel() + 2 * scales.numel() == matrix.numel() * 4.5 / 8
    back = unpack_groups(codes, scales)
    groups, error = matrix.reshape(-1, 32), (back - matrix).reshape(-1, 32)
    relative = error.norm(dim=1) / groups.norm(dim=1).clamp(min=1e-12)
    assert relative.max() < 0.14 and relative.mean() < 0.085 and not back[7].any()
    assert torch.equal(unpack_groups(*pack_groups(back)), back)


def test_scales_of_another_matrix_are_refused():
    codes, scales = pack_groups(torch.randn(4, 64))
    with pytest.raises(ValueError, match=r"expected scales of shape \(4, 2\), got \(3, 2\)"):
        unpack_groups(codes, scales[:3])


def test_a_four_bit_model_is_one_file_and_near_the_full_one(tiny, tmp_path):
    storage.save_compact(tiny[0], tmp_path, "int4")
    assert [file.name for file in tmp_path.glob("model*")] == [storage.SINGLE]
    loaded, info = InstructSegModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()) and not hasattr(loaded.config, "weight_storage")
    for name, value in loaded.state_dict().items():
        saved = tiny[0].state_dict()[name]
        assert (value - saved).norm() <= 0.1 * saved.norm() + 1e-6, name


@pytest.mark.parametrize("changes", [{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def test_round_trip(changes, tmp_path):
    model, processor = tiny_model.build(**changes)
    storage.save_compact(model, tmp_path / "new" / "folder")
    loaded, info = InstructSegModel.from_pretrained(tmp_path / "new" / "folder", output_loading_info=True)
    assert not any(info.values()), info
    saved = model.state_dict()
    for name, value in loaded.state_dict().items():
        rest = tuple(range(1, value.ndim))
        largest = saved[name].abs().amax(rest, keepdim=True) if rest else saved[name].abs()
        assert ((value - saved[name]).abs() <= largest / 127 + 1e-6).all(), name
        assert value.dtype == saved[name].dtype
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog", "a red cup"]))
    with torch.no_grad():
        first, second = (each.encode_image(inputs.pixel_values, inputs.clip_pixel_values) for each in (model, loaded))
        queries, text = torch.randn(1, 2, 4, 32), torch.randn(1, 2, 32)
        heads = [each.mask_decoder.predict(first.pixels.mask_features, queries, text) for each in (model, loaded)]
        references = [each.perceive(first, inputs.layout, inputs.reference_index) for each in (model, loaded)]
        rest = [each.reason(inputs.layout, first, tokens).mask_embeddings
                for each, tokens in zip((model, loaded), references, strict=True)]  # fmt: skip
    # Stage by stage: masked attention switches pixels on and off, which random weights answer wildly.
    pairs = [(getattr(heads[0], name), getattr(heads[1], name)) for name in ("mask_logits", "score_logits")]
    pairs += [(first.tokens, second.tokens), (first.pixels.mask_features, second.pixels.mask_features), rest]
    for one, two in pairs:
        assert (one - two).abs().mean() < 0.03 * one.abs().mean()


def test_no_file_is_larger_than_asked(tiny, tmp_path):
    storage.save_compact(tiny[0], tmp_path, shard_bytes=60_000)
    files = list(tmp_path.glob("*.safetensors"))
    header = 20_000
    assert len(files) > 3 and all(file.stat().st_size < 60_000 + header for file in files)
    index = json.loads((tmp_path / storage.INDEX).read_text())
    assert set(index["weight_map"].values()) == {file.name for file in files}
    InstructSegModel.from_pretrained(tmp_path)


def test_what_was_compact_is_saved_in_full(tiny, tmp_path):
    storage.save_compact(tiny[0], tmp_path / "compact")
    loaded = InstructSegModel.from_pretrained(tmp_path / "compact")
    for model in (loaded, tiny[0]):
        model.save_pretrained(tmp_path / "full")
        again = InstructSegModel.from_pretrained(tmp_path / "full")
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())


def test_a_configuration_of_ones_own_does_not_hide_how_weights_are_stored(tiny, tmp_path):
    storage.save_compact(tiny[0], tmp_path)
    plain = InstructSegModel.from_pretrained(tmp_path)
    config = tiny_model.config(score_threshold=0.5)
    loaded = InstructSegModel.from_pretrained(tmp_path, config=config)
    assert loaded.config.score_threshold == 0.5
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_precision_is_chosen_at_loading(tiny, dtype, tmp_path):
    storage.save_compact(tiny[0], tmp_path)
    assert InstructSegModel.from_pretrained(tmp_path, dtype=dtype).dtype == dtype


@pytest.mark.parametrize("damage", ["truncated", "empty", "gone", "no index", "index of something else"])
def test_damaged_folders_are_named(tiny, damage, tmp_path):
    storage.save_compact(tiny[0], tmp_path, shard_bytes=100_000)
    file, index = sorted(tmp_path.glob("*.safetensors"))[1], tmp_path / storage.INDEX
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "gone":
        file.unlink()
    elif damage == "no index":
        index.unlink()
    else:
        index.write_text("{}")
    with pytest.raises(CheckpointError, match=r"cannot be read: .*; download the folder again"):
        InstructSegModel.from_pretrained(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists what a process has mapped")
def test_tensors_are_read_and_not_mapped(tmp_path):
    """Mapped pages would count as memory of the process beside the weights made of them."""
    written = [{"a": torch.randn(300, 200), "b": torch.arange(5)}, {"c": torch.randn(400, 100).bfloat16()}]
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for file, shard in zip(files, written, strict=True):
        save_file(shard, file)
    with storage.open_tensors(files) as tensors:
        read = {name: tensor[...] for name, tensor in tensors.items()}
        assert str(tmp_path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    expected = written[0] | written[1]
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype
