"""Loading without conversions gives what transformers' loading gives, to the bit, and leaves other cases to it."""

import json

import pytest
import tiny_model
import torch

from instructseg.model import pretrained, processing
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.model.storage import save_compact
from instructseg.model.tokenizer_files import read_added_tokens


def save(path, **changes):
    model, processor = tiny_model.build(**changes)
    save_compact(model, path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("compact"), **tiny_model.LIKE_NANO)


def load_slowly(monkeypatch, folder, **options):
    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "EXACT_OPTIONS", set())
        return InstructSegModel.from_pretrained(folder, output_loading_info=True, **options)


def tensors(model):
    everything = (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False))
    return dict(pair for pairs in everything for pair in pairs)


@pytest.mark.parametrize("options", [
    {"dtype": torch.float32}, {"dtype": torch.bfloat16}, {"attn_implementation": "eager", "dtype": torch.float32},
])  # fmt: skip
def test_the_same_model(folder, monkeypatch, options):
    expected, slow_info = load_slowly(monkeypatch, folder, **options)
    model, info = InstructSegModel.from_pretrained(folder, output_loading_info=True, **options)
    assert info is pretrained.LOADED_EXACTLY
    assert not any(slow_info[name] for name in info) and slow_info.keys() == info.keys()
    right = tensors(expected)
    assert tensors(model).keys() == right.keys()
    for name, tensor in tensors(model).items():
        assert tensor.dtype == right[name].dtype and torch.equal(tensor, right[name]), name
        assert tensor.requires_grad == right[name].requires_grad and tensor.device == right[name].device, name
    for one, other in zip(model.modules(), expected.modules(), strict=True):
        assert type(one) is type(other) and not one.training
    attention = [part.config._attn_implementation for part in (model.language_model, expected.language_model)]
    assert attention[0] == attention[1]
    assert model.config.to_diff_dict() == expected.config.to_diff_dict()


def test_it_is_saved_the_same(folder, monkeypatch, tmp_path):
    expected, _ = load_slowly(monkeypatch, folder, dtype=torch.float32)
    expected.save_pretrained(tmp_path / "slow")
    InstructSegModel.from_pretrained(folder, dtype=torch.float32).save_pretrained(tmp_path / "fast")
    for path in (tmp_path / "slow").iterdir():
        assert (tmp_path / "fast" / path.name).read_bytes() == path.read_bytes(), path.name


def test_weights_that_do_not_fit_go_to_transformers(folder):
    config = InstructSegModel.from_pretrained(folder).config
    config.num_mask_tokens += 1
    options = {"config": config, "output_loading_info": True, "ignore_mismatched_sizes": True}
    model, info = InstructSegModel.from_pretrained(folder, **options)
    assert {name for name, *_ in info["mismatched_keys"]} >= {"mask_tokens"}
    assert len(model.mask_tokens) == config.num_mask_tokens


def test_models_with_a_clip_type_encoder_go_to_transformers(tmp_path):
    _, info = InstructSegModel.from_pretrained(save(tmp_path), output_loading_info=True)
    assert info is not pretrained.LOADED_EXACTLY and not any(info.values())


def test_the_same_tokenizer(folder, monkeypatch):
    processor = InstructSegProcessor.from_pretrained(folder)
    monkeypatch.setattr(processing, "read_added_tokens", lambda folder: None)
    expected = InstructSegProcessor.from_pretrained(folder)
    assert processor.tokenizer.init_kwargs == expected.tokenizer.init_kwargs
    assert processor.tokenizer.added_tokens_decoder == expected.tokenizer.added_tokens_decoder
    assert processor.tokenizer.special_tokens_map == expected.tokenizer.special_tokens_map
    assert processor.tokenizer("[SEG] the dog").input_ids == expected.tokenizer("[SEG] the dog").input_ids


def test_added_tokens(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    added = read_added_tokens(folder)
    assert added and added == {
        token["id"]: {name: value for name, value in token.items() if name != "id"} for token in content["added_tokens"]
    }


STRANGE = ["", "{", '{"model": {}, "added_tokens": []}', '{"added_tokens": [', '{"added_tokens": 3}']


@pytest.mark.parametrize("content", STRANGE)
def test_other_files_are_left_to_transformers(tmp_path, content):
    assert read_added_tokens(tmp_path) is None
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert read_added_tokens(tmp_path) is None
    (tmp_path / "tokenizer.json").write_text(content)
    assert read_added_tokens(tmp_path) is None


def test_a_decoder_in_the_configuration_has_priority(folder, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"added_tokens_decoder": {}}')
    assert read_added_tokens(tmp_path) is None
