"""What is saved comes back the same, and what does not fit is not taken silently."""

import pytest
import tiny_model
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, AutoProcessor

from instructseg.model.configuration import InstructSegConfig
from instructseg.model.modeling import InstructSegModel
from instructseg.model.presets import nano, paper
from instructseg.model.processing import InstructSegProcessor

ABLATIONS = {
    "tiny": {},
    "like_nano": tiny_model.LIKE_NANO,
    "no_perceiver": {"perceiver_config": None},
    "no_fusion": {"text_fusion_config": None},
    "detailed": {"text_fusion_config": {"granularity": "detailed"}},
    "lm_head_size": {"lm_head_size": 600},
}


def answer(model, inputs):
    with torch.no_grad():
        return model(**inputs.model_kwargs)


@pytest.fixture(scope="module")
def tiny():
    return tiny_model.build()


@pytest.fixture(scope="module")
def inputs(tiny):
    return tiny_model.prepare(tiny[1], ([tiny_model.photo()], ["the dog", "the big red cup"]))


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    tiny[0].save_pretrained(path)
    tiny[1].save_pretrained(path)
    return path


def assert_equal_weights(first, second):
    one, other = first.state_dict(), second.state_dict()
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("changes", ABLATIONS.values(), ids=ABLATIONS)
def test_saved_and_loaded_weights_are_equal(changes, tmp_path):
    model, processor = tiny_model.build(**changes)
    model.save_pretrained(tmp_path)
    loaded, info = InstructSegModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert not loaded.training
    assert_equal_weights(model, loaded)
    prepared = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog"]))
    assert torch.equal(answer(loaded, prepared).mask_logits, answer(model, prepared).mask_logits)


@pytest.mark.parametrize(
    "field, changes",
    [
        ("projector", {"projector": "nonsense"}),
        ("selection", {"selection": "best"}),
        ("reference_policy", {"reference_policy": "all"}),
        ("num_mask_tokens", {"num_mask_tokens": "12"}),
        ("score_threshold", {"score_threshold": "low"}),
        ("granularity", {"text_fusion_config": {"granularity": "none"}}),
        ("decoder_layers", {"decoder_config": {"decoder_layers": 2.5}}),
    ],
)
def test_a_config_takes_only_values_that_mean_something(field, changes):
    with pytest.raises(StrictDataclassError, match=field):
        tiny_model.config(**changes)


def test_whole_numbers_are_numbers():
    assert tiny_model.config(score_threshold=0).score_threshold == 0  # as YAML and people write it


def test_tied_embeddings_stay_tied(tmp_path):
    model, _ = tiny_model.build(tie_word_embeddings=True, text_config={"tie_word_embeddings": True})
    assert model.lm_head.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    loaded = InstructSegModel.from_pretrained(tmp_path)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    assert_equal_weights(model, loaded)


def test_shards(tiny, inputs, tmp_path):
    tiny[0].save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    loaded = InstructSegModel.from_pretrained(tmp_path)
    assert_equal_weights(tiny[0], loaded)
    assert torch.equal(answer(loaded, inputs).mask_logits, answer(tiny[0], inputs).mask_logits)


def test_device_map(tiny, inputs, folder):
    loaded = InstructSegModel.from_pretrained(folder, device_map="cpu")
    assert torch.equal(answer(loaded, inputs).mask_logits, answer(tiny[0], inputs).mask_logits)


def test_half_precision(tiny, inputs, folder):
    loaded = InstructSegModel.from_pretrained(folder, dtype=torch.bfloat16)
    assert loaded.dtype == torch.bfloat16
    with torch.no_grad():
        output = loaded(**inputs.to("cpu", torch.bfloat16).model_kwargs)
    exact = answer(tiny[0], inputs)
    assert output.mask_logits.dtype == output.score_logits.dtype == torch.float32
    error = (output.mask_logits - exact.mask_logits).abs().mean()
    assert error < 0.1 * exact.mask_logits.abs().mean(), "coordinates and logits need more bits than bfloat16 has"


@pytest.mark.parametrize("changes", [{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def test_attention_implementations_agree(changes, tmp_path):
    model, processor = tiny_model.build(**changes)
    model.save_pretrained(tmp_path)
    prepared = tiny_model.prepare(
        processor, ([tiny_model.photo()], ["the dog", "the big red cup"]), ([tiny_model.photo(seed=1)], ["zebra"])
    )
    results = {}
    for name in ("eager", "sdpa"):
        loaded = InstructSegModel.from_pretrained(tmp_path, attn_implementation=name)
        assert loaded.language_model.config._attn_implementation.startswith(name)  # sdpa may go in blocks
        results[name] = answer(loaded, prepared)
    for key in ("mask_logits", "score_logits"):
        asked = prepared.layout.expression_mask
        torch.testing.assert_close(results["eager"][key][asked], results["sdpa"][key][asked], atol=1e-5, rtol=1e-4)


def test_processor_prepares_the_same_after_loading(tiny, folder):
    image, texts = tiny_model.photo(30, 50), ["the dog", "<seg> [SEG] a red zebra"]
    loaded = InstructSegProcessor.from_pretrained(folder)
    first, second = (tiny_model.prepare(each, ([image], texts)) for each in (tiny[1], loaded))
    assert torch.equal(first.pixel_values, second.pixel_values)
    assert torch.equal(first.clip_pixel_values, second.clip_pixel_values)
    assert first.geometries == second.geometries
    for name, one in vars(first.layout).items():
        other = vars(second.layout)[name]
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, name


@pytest.mark.parametrize("changes", [{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def test_image_options_are_kept(changes, tmp_path):
    _, processor = tiny_model.build(**changes)
    processor.save_pretrained(tmp_path)
    loaded = InstructSegProcessor.from_pretrained(tmp_path).image_processor
    names = ("side", "resize", "mean", "std", "clip_side", "clip_mean", "clip_std")
    assert [getattr(loaded, name) for name in names] == [getattr(processor.image_processor, name) for name in names]


def test_processor_options_are_kept(tmp_path):
    _, processor = tiny_model.build(block_order="released", prompt_set="released", perceiver_config=None)
    processor.image_processor.resize = "stretch"
    processor.save_pretrained(tmp_path)
    loaded = InstructSegProcessor.from_pretrained(tmp_path)
    options = ("image_tokens", "frame_tokens", "mask_tokens", "block_order", "prompt_set")
    assert [getattr(loaded, name) for name in options] == [getattr(processor, name) for name in options]
    assert loaded.image_processor.resize == "stretch" and loaded.image_processor.clip_side == 28


def test_auto_classes(tiny, folder):
    assert isinstance(AutoConfig.from_pretrained(folder), InstructSegConfig)
    assert isinstance(AutoProcessor.from_pretrained(folder), InstructSegProcessor)
    loaded = AutoModel.from_pretrained(folder)
    assert isinstance(loaded, InstructSegModel)
    assert_equal_weights(tiny[0], loaded)


@pytest.mark.parametrize("config", [tiny_model.config(), nano(), paper(), tiny_model.config(**tiny_model.LIKE_NANO)])
def test_configurations_come_back(config, tmp_path):
    config.save_pretrained(tmp_path)
    loaded = InstructSegConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == {**config.to_dict(), "transformers_version": loaded.transformers_version}


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"perceiver_config": None}, "perceiver."),
        ({"text_fusion_config": None}, "text_fusion."),
        ({"decoder_config": {"mask_position": False}}, "pixel_decoder.position_projection."),
        ({"auxiliary_config": {"text_to_pixel": False}}, "mask_decoder.text_to_pixel_head."),
        ({"decoder_config": {"decoder_layers": 2}}, "mask_decoder.layers.2."),
    ],
)
def test_the_weights_of_another_ablation_are_named(changes, part, tiny, folder, tmp_path):
    """transformers loads what fits; what does not is reported by name, and nothing that fits is touched."""
    ablated, _ = tiny_model.build(seed=1, **changes)
    _, info = InstructSegModel.from_pretrained(folder, config=ablated.config, output_loading_info=True)
    assert info["unexpected_keys"] and all(name.startswith(part) for name in info["unexpected_keys"])
    ablated.save_pretrained(tmp_path)
    loaded, info = InstructSegModel.from_pretrained(tmp_path, config=tiny[0].config, output_loading_info=True)
    assert info["missing_keys"] and all(name.startswith(part) for name in info["missing_keys"])
    weights, saved = loaded.state_dict(), ablated.state_dict()
    assert not [name for name in weights if name in saved and not torch.equal(weights[name], saved[name])]
    assert all(torch.isfinite(weights[name]).all() for name in info["missing_keys"])


def test_a_folder_of_weights_alone_takes_the_given_configuration(tiny, folder, tmp_path):
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    assert_equal_weights(tiny[0], InstructSegModel.from_pretrained(tmp_path, config=tiny[0].config))


def test_other_sizes_are_refused_unless_asked_for(tiny, folder):
    wider = tiny_model.config(num_mask_tokens=6)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        InstructSegModel.from_pretrained(folder, config=wider)
    loaded = InstructSegModel.from_pretrained(folder, config=wider, ignore_mismatched_sizes=True)
    saved, fresh = tiny[0].state_dict(), {"mask_tokens", "mask_decoder.query_embed"}
    changed = {name for name, value in loaded.state_dict().items() if not torch.equal(value, saved[name])}
    assert changed == fresh


def test_fresh_weights():
    """Deformable attention starts on its ring of points, which a plain linear initialisation would lose."""
    torch.manual_seed(0)
    model = InstructSegModel(tiny_model.config())
    for layer in model.pixel_decoder.layers:
        attention = layer.self_attn
        heads, levels, points = attention.num_heads, attention.num_levels, attention.num_points
        steps = attention.sampling_offsets.bias.view(heads, levels, points, 2).abs().amax(-1)
        torch.testing.assert_close(steps, torch.arange(1.0, points + 1).expand_as(steps))
        assert not attention.sampling_offsets.weight.any() and not attention.attention_weights.weight.any()
    zero = ("sampling_offsets.weight", "attention_weights.weight", "relative_position_bias_table")
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.ndim < 2 or parameter.any() or name.endswith(zero), name


@pytest.mark.parametrize("projector", ["mlp", "concept"])
def test_fresh_visual_tokens_are_of_the_size_of_words(projector):
    """Whichever of its modules has parameters of its own: transformers initialises only those."""
    torch.manual_seed(0)
    changes = {**tiny_model.LIKE_NANO, "projector": projector}
    tokens = InstructSegModel(tiny_model.config(**changes)).vision_tokens
    bound = 6**0.5 / (32 + 32) ** 0.5  # of a plain Xavier initialisation of the projector's last layer
    assert tokens.projector[-1].weight.abs().max() < 0.2 * bound
