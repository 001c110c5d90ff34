"""Old names of fields, modules and loss weights: files that people have keep loading, and are saved under new names."""

import json
from pathlib import Path

import pytest
import tiny_model
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from instructseg.errors import RecipeError
from instructseg.model import legacy_names, storage
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.losses import LossWeights
from instructseg.model.modeling import InstructSegModel
from instructseg.training.recipe import load_recipe

NANO = Path(__file__).parents[2] / "weights" / "nano"
COARSEST = {"decoder_config": {"coarsest_in_masks": True}}


def old_config(folder):
    """Rewrite config.json of a folder as an older version would have."""
    path = folder / "config.json"
    tree = json.loads(path.read_text())
    heads = tree.pop("auxiliary_config")
    tree["perceiver_config"]["locate"] = heads["localization"]
    tree["decoder_config"]["text_to_pixel"] = heads["text_to_pixel"]
    tree["decoder_config"]["pixel_naming"] = heads["pixel_classification"]
    tree["decoder_config"]["deepest_in_masks"] = tree["decoder_config"].pop("coarsest_in_masks")
    path.write_text(json.dumps(tree))


def old_key(name):
    for old, new in legacy_names.MODULES.items():
        if name.startswith(f"{new}."):
            return old + name.removeprefix(new)
    return name


@pytest.fixture(scope="module")
def model():
    return tiny_model.build(**COARSEST)[0]


def assert_the_same(loaded, model):
    info = loaded[1]
    assert not any(info.values()), info
    for head in ("pixel_classification", "text_to_pixel", "localization"):
        assert getattr(loaded[0].config.auxiliary_config, head) == getattr(model.config.auxiliary_config, head)
    one, other = model.state_dict(), loaded[0].state_dict()
    assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_of_an_older_version_loads_exactly(model, tmp_path):
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = {old_key(name): tensor for name, tensor in load_file(file).items()}
    assert sum(legacy_names.modern_key(name) != name for name in tensors) == 3 + 4 + 2 + 2
    save_file(tensors, file, metadata={"format": "pt"})
    old_config(tmp_path)
    loaded = InstructSegModel.from_pretrained(tmp_path, output_loading_info=True)
    assert_the_same(loaded, model)
    loaded[0].save_pretrained(tmp_path / "again")
    saved = load_file(tmp_path / "again" / "model.safetensors")
    assert all(legacy_names.modern_key(name) == name for name in saved)
    tree = json.loads((tmp_path / "again" / "config.json").read_text())
    assert legacy_names.modern_config(tree) == tree and "locate" not in tree["perceiver_config"]


def test_compact_weights_of_an_older_version_load_exactly(model, tmp_path):
    storage.save_compact(model, tmp_path, shard_bytes=60_000)
    expected = InstructSegModel.from_pretrained(tmp_path)
    index = json.loads((tmp_path / storage.INDEX).read_text())
    for file in tmp_path.glob("*.safetensors"):
        save_file({old_key(name): tensor for name, tensor in load_file(file).items()}, file)
    index["weight_map"] = {old_key(name): file for name, file in index["weight_map"].items()}
    (tmp_path / storage.INDEX).write_text(json.dumps(index))
    old_config(tmp_path)
    assert_the_same(InstructSegModel.from_pretrained(tmp_path, output_loading_info=True), expected)


def test_a_state_dict_of_an_older_version_loads_exactly(model):
    tensors = {old_key(name): tensor for name, tensor in model.state_dict().items()}
    loaded = InstructSegModel.from_pretrained(None, config=model.config, state_dict=tensors, output_loading_info=True)
    assert_the_same(loaded, model)


def test_the_shipped_configuration_is_understood():
    config = InstructSegConfig.from_pretrained(NANO)
    heads = config.auxiliary_config
    assert heads.text_to_pixel and not heads.localization
    assert config.decoder_config.coarsest_in_masks and config.seed_config is not None
    keys = set()
    for file in NANO.glob("*.safetensors"):
        with safe_open(file, "pt") as shard:
            keys |= {name for name in shard.keys() if not storage.is_scale(name)}  # noqa: SIM118
    with torch.device("meta"):
        own = set(InstructSegModel(config).state_dict())
    assert {legacy_names.modern_key(name) for name in keys} == own - {"lm_head.weight"}


def test_every_new_name_exists(model):
    modules = dict(model.named_modules())
    assert all(name in modules for name in legacy_names.MODULES.values())
    assert set(legacy_names.LOSS_WEIGHTS.values()) <= set(vars(LossWeights()))
    tree = model.config.to_dict()
    assert all(field in tree[part] for part, field in (new.split(".") for new in legacy_names.CONFIG_FIELDS.values()))


def test_a_head_without_the_module_it_reads_is_left_out():
    model, _ = tiny_model.build(perceiver_config=None)
    assert model.config.auxiliary_config.localization and model.perceiver is None


def test_names_are_given_once():
    with pytest.raises(ValueError, match=r"expected one of auxiliary_config\.localization and its old name"):
        legacy_names.modern_config({"perceiver_config": {"locate": True}, "auxiliary_config": {"localization": True}})
    with pytest.raises(ValueError, match="expected one name for the loss weight all_queries"):
        legacy_names.modern_loss_weights({"every": 1, "all_queries": 1})


def test_recipes_with_old_names(tmp_path):
    path = tmp_path / "old.yaml"
    path.write_text(
        "model: {train: [mask_decoder, naming], fresh: [perceiver], config: {perceiver_config: {locate: false}}}\n"
        "loss: {weights: {every: 4.0, naming: 3.0, pixel: 2.0, references: 0.5}}\n"
    )
    recipe = load_recipe(path, ["loss.weights.every=1", "model.config.decoder_config.pixel_naming=false"])
    assert recipe.model.train == ("mask_decoder", "pixel_classification_head") and recipe.model.fresh == ("perceiver",)
    assert recipe.model.config == {
        "perceiver_config": {},
        "auxiliary_config": {"localization": False, "pixel_classification": False},
    }
    expected = {"all_queries": 1.0, "pixel_classification": 3.0, "text_to_pixel": 2.0, "localization_head": 0.5}
    assert {name: getattr(recipe.loss.weights, name) for name in expected} == expected
    path.write_text("loss: {weights: {every: 4.0, all_queries: 3.0}}\n")
    with pytest.raises(RecipeError, match="expected one name"):
        load_recipe(path)
