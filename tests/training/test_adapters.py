"""LoRA adapters in peft's format: a round trip, peft's own reading of them, and the merge command."""

import copy
import json

import pytest
import tiny_model
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.errors import CheckpointError
from instructseg.inference.segmenter import Segmenter
from instructseg.training.adapters import load_adapters, save_adapters
from instructseg.training.parameters import add_lora, merge_lora
from instructseg.training.recipe import LoraRecipe


@pytest.fixture
def trained():
    """A model with adapters that change something, and its processor."""
    model, processor = tiny_model.build()
    add_lora(model, LoraRecipe(rank=2, alpha=8))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    return model.eval(), processor


def masks(model, processor):
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog"]))
    with torch.no_grad():
        return model(**inputs.model_kwargs).mask_logits


def test_round_trip(trained, tmp_path):
    model, processor = trained
    save_adapters(model, tmp_path, base="tiny")
    other, _ = tiny_model.build()
    before = masks(other, processor)
    load_adapters(other, tmp_path)
    torch.testing.assert_close(masks(other.eval(), processor), masks(model, processor))
    assert not torch.allclose(before, masks(model, processor))


def test_peft_reads_them(trained, tmp_path, recwarn):
    from peft import PeftModel

    model, processor = trained
    save_adapters(model, tmp_path, parts=["mask_tokens"])
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as file:
        assert all(name.startswith("base_model.model.language_model.layers.") for name in file.keys())  # noqa: SIM118
    other, _ = tiny_model.build()
    theirs = PeftModel.from_pretrained(other, tmp_path).eval()
    assert not [str(each.message) for each in recwarn if "adapter" in str(each.message)]
    torch.testing.assert_close(masks(theirs, processor), masks(model, processor))


def test_older_adapters_of_the_language_model_alone(trained, tmp_path):
    """As this package wrote them until now, and as peft writes them for `model.language_model`."""
    model, processor = trained
    save_adapters(model, tmp_path)
    file, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    older = {name.replace("language_model.", ""): tensor for name, tensor in load_file(file).items()}
    save_file(older, file, {"format": "pt"})
    tree = json.loads(config.read_text())
    config.write_text(json.dumps(tree | {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]}))
    other, _ = tiny_model.build()
    load_adapters(other, tmp_path)
    torch.testing.assert_close(masks(other.eval(), processor), masks(model, processor))


def test_adapters_that_peft_made_on_the_whole_model(tmp_path):
    """In encoder and language model, with a module trained in full: `merge` takes them as peft does."""
    from peft import LoraConfig, get_peft_model

    base, processor = tiny_model.build()
    wrapped = get_peft_model(
        copy.deepcopy(base),
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["query_projection"], use_dora=True),
    )
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    adapted = {name.split(".lora_")[0] for name, _ in wrapped.named_parameters() if ".lora_" in name}
    assert any("vision_tokens" in name for name in adapted) and any("language_model" in name for name in adapted)
    wrapped.save_pretrained(tmp_path)
    load_adapters(base, tmp_path)
    torch.testing.assert_close(masks(base.eval(), processor), masks(wrapped.eval(), processor))
    again = tmp_path / "again"
    save_adapters(base, again)
    merge_lora(base)
    torch.testing.assert_close(masks(base, processor), masks(wrapped, processor), atol=1e-4, rtol=1e-3)
    assert not any("lora" in name for name, _ in base.named_parameters()) and (again / "adapter_config.json").is_file()


def test_merge_command(trained, tmp_path):
    model, processor = trained
    base, base_processor = tiny_model.build()
    base.save_pretrained(tmp_path / "base")
    base_processor.save_pretrained(tmp_path / "base")
    save_adapters(model, tmp_path / "adapters")
    arguments = ["merge", str(tmp_path / "base"), str(tmp_path / "adapters"), str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    merged = Segmenter.load(tmp_path / "out", device="cpu")
    assert not any("lora" in name for name, _ in merged.model.named_parameters())
    torch.testing.assert_close(masks(merged.model, processor), masks(model, processor), atol=1e-4, rtol=1e-4)
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1 and "already exists" in again.stderr


def test_adapters_that_do_not_fit(trained, tmp_path):
    model, _ = trained
    save_adapters(model, tmp_path / "good")
    shallow, _ = tiny_model.build(text_config={"num_hidden_layers": 1})
    with pytest.raises(CheckpointError, match="do not fit this language model"):
        load_adapters(shallow, tmp_path / "good")
    wide, _ = tiny_model.build(text_config={"hidden_size": 48})
    with pytest.raises(CheckpointError, match="do not fit this language model"):
        load_adapters(wide, tmp_path / "good")
    with pytest.raises(CheckpointError, match="has no readable adapters"):
        load_adapters(shallow, tmp_path)


def test_parts_trained_in_full_go_with_them(trained, tmp_path):
    model, _ = trained
    names = ["mask_tokens", *(name for name, _ in model.named_parameters() if name.startswith("mask_decoder."))]
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).add_(0.1)
    save_adapters(model, tmp_path, parts=names)
    other, _ = tiny_model.build()
    load_adapters(other, tmp_path)
    own = dict(other.named_parameters())
    assert all(own[name].equal(parameter) for name, parameter in model.named_parameters())
    narrow, _ = tiny_model.build(num_mask_tokens=model.config.num_mask_tokens + 1)
    with pytest.raises(CheckpointError, match=r"trained parts in .* do not fit this model, first at mask_"):
        load_adapters(narrow, tmp_path)


def test_merged_models_have_nothing_to_save(trained, tmp_path):
    model, _ = trained
    merge_lora(model)
    del model.language_model.peft_config
    with pytest.raises(CheckpointError, match="no adapters to save"):
        save_adapters(model, tmp_path)
