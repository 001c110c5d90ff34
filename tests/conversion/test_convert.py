"""Whole conversions at toy size: what is written loads, behaves as it should, and names where it came from."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import tiny_model
import tiny_sources
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from typer.testing import CliRunner

from benchmarks.speed import released_checkpoint as checkpoint
from instructseg.cli import app
from instructseg.conversion import released
from instructseg.conversion.convert import BASE_FRESH, convert_base, convert_released
from instructseg.conversion.fresh import shapes_of
from instructseg.conversion.reading import WeightFiles
from instructseg.conversion.rename import check_complete, make_plan
from instructseg.conversion.writing import write_folder
from instructseg.errors import CheckpointError, InputError
from instructseg.inference.segmenter import Segmenter
from instructseg.model.modeling import InstructSegModel
from instructseg.model.presets import paper

SIZES = checkpoint.Sizes(
    words=98, output_words=120, width=40, ffn=56, layers=2, eye_width=24, eye_ffn=48, eye_layers=3, eye_patches=16,
    eye_patch=7, swin_width=8, swin_depths=(2, 1, 2, 1), swin_heads=(1, 2, 2, 4), window=4, decoder=32, pixel_layers=2,
    pixel_ffn=24, heads=4, mask_layers=3, mask_ffn=40, queries=6, latents=3, resampler_inner=16, resampler_layers=2,
    fusion=16,
)  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released") / "source"
    checkpoint.write(folder, SIZES, shard_bytes=100_000)
    return folder


@pytest.fixture(scope="module")
def converted(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "released"
    return convert_released(source, folder, tiny_sources.config()), folder


def test_released_weights_are_all_read(source, converted):
    report, folder = converted
    shapes = checkpoint.released_shapes(SIZES)
    assert sorted([*report.used, *report.ignored]) == sorted(shapes)
    assert set(report.fresh) == {"backbone.swin.layernorm.weight", "backbone.swin.layernorm.bias"}
    model, missing = InstructSegModel.from_pretrained(folder, output_loading_info=True)
    assert not any(missing[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    state, given = model.state_dict(), dict(WeightFiles(source).tensors())
    for key, names in report.used.items():
        assert torch.equal(torch.cat([state[name] for name in names]), given[key].float()), key
    assert state.keys() == {name for names in report.used.values() for name in names} | report.fresh.keys()
    assert json.loads((folder / "conversion.json").read_text())["used"] == report.used


def test_released_behaviour_is_switched_on(converted):
    config = InstructSegModel.from_pretrained(converted[1]).config
    assert config.perceiver_config.latents_in_keys and config.text_fusion_config.granularity == "global"
    assert config.decoder_config.fpn_bias_relu and not config.decoder_config.mask_position
    assert (config.block_order, config.prompt_set, config.selection) == ("released", "released", "score_x_quality")
    assert (config.text_config.vocab_size, config.lm_head_size, config.score_threshold) == (98, 120, 0.0)
    assert (config.reference_policy, config.video_threshold) == ("nearest", None)


def test_sources_are_named_by_their_hashes(source, converted):
    config = InstructSegModel.from_pretrained(converted[1]).config
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in source.glob("*.safetensors")}
    assert len(files) > 2 and config.converted_from == {"tables": ["released"], "sha256": files}


@pytest.mark.parametrize("photo", [tiny_model.photo(), tiny_model.photo(64, 64)], ids=["wide", "square"])
def test_the_converted_model_answers(converted, photo):
    segmenter = Segmenter.load(converted[1], device="cpu")
    result = segmenter.segment(photo, "the dog")
    assert len(result.masks) <= 1 and result.masks.shape[1:] == photo.shape[:2]
    assert segmenter.processor.image_processor.resize == "pad"


def test_precision_of_the_source_is_kept(converted):
    kinds = set()
    for file in converted[1].glob("*.safetensors"):
        with safe_open(file, "pt") as shard:
            kinds |= {shard.get_slice(key).get_dtype() for key in shard.keys() if "swin.layernorm" not in key}  # noqa: SIM118
    assert kinds == {"F16"}


def test_wrong_sizes_are_refused_before_anything_is_written(source, tmp_path):
    wrong = tiny_sources.config(num_mask_tokens=7)
    with pytest.raises(CheckpointError, match=r"seg_query \[6, 40\] gives \[6, 40\], mask_tokens is \[7, 40\]"):
        convert_released(source, tmp_path / "out", wrong)
    assert not list(tmp_path.iterdir())


def test_a_missing_tokenizer_stops_it_with_what_to_copy(source, parts, tmp_path):
    folders = {"released": shutil.copytree(source, tmp_path / "released"), "base": parts[0] / "mipha"}
    alone = shutil.copytree(folders["base"], tmp_path / "mipha")
    for folder in (folders["released"], alone):
        for file in folder.glob("*token*"):
            file.unlink()
    with pytest.raises(CheckpointError, match=r"expected the tokenizer .*vocab\.json.* of the released model, weic22/"):
        convert_released(folders["released"], tmp_path / "out", tiny_sources.config())
    with pytest.raises(CheckpointError, match=r"expected the tokenizer .*merges\.txt.* of Mipha's or Phi-2's folder"):
        convert_base(alone, parts[0] / "m2f.pkl", tmp_path / "out", tiny_sources.config())
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_without_seg_is_refused(source, tmp_path):
    folder = shutil.copytree(source, tmp_path / "released")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"a": 0}, []))).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"expected a tokenizer with \[SEG\] in .*; copy tokenizer.json"):
        convert_released(folder, tmp_path / "out", tiny_sources.config())


def test_a_foreign_model_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"something": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError, match="pass the complete released model"):
        convert_released(file, tmp_path / "out")


@pytest.mark.parametrize("part", ["perceiver_config", "text_fusion_config"])
def test_a_configuration_without_a_released_part_is_refused(source, tmp_path, part):
    with pytest.raises(CheckpointError, match="expected perceiver_config and text_fusion_config for the released"):
        convert_released(source, tmp_path / "out", tiny_sources.config(**{part: None}))


def test_command(source, tmp_path):
    tiny_sources.config().save_pretrained(tmp_path)
    sizes = ["--config", str(tmp_path / "config.json")]
    done = CliRunner().invoke(app, ["convert", "released", str(source), str(tmp_path / "out"), *sizes])
    assert done.exit_code == 0, done.output
    assert "tensors used" in done.stdout and "ignored: " in done.stdout and (tmp_path / "out/config.json").is_file()
    again = CliRunner().invoke(app, ["convert", "released", str(source), str(tmp_path / "out"), *sizes])
    assert again.exit_code == 1 and "already exists" in again.stderr
    missing = CliRunner().invoke(app, ["convert", "released", str(tmp_path / "none"), str(tmp_path / "out2")])
    assert missing.exit_code == 1 and missing.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with a Mipha and a Mask2Former, and the language model in the former."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("base")
    projector = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 40))
    phi = tiny_sources.phi()
    tiny_sources.write_mipha(folder / "mipha", phi, tiny_sources.siglip(), projector)
    tiny_sources.write_mask2former(folder / "m2f.pkl", tiny_sources.mask2former())
    return folder, phi


class TestBase:
    def test_fresh_parts_start_as_in_a_new_model(self, parts, tmp_path):
        folder, _ = parts
        report = convert_base(folder / "mipha", folder / "m2f.pkl", tmp_path / "out", tiny_sources.config())
        model, missing = InstructSegModel.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not any(missing[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        for name in report.fresh:
            values = model.state_dict()[name]
            assert torch.isfinite(values).all() and (values.ndim < 2 or values.std() > 0), name
        assert (model.perceiver.norm.weight == 0.1).all() and not model.perceiver.norm.bias.any()
        assert {"mask_tokens", "query_projection.weight", "perceiver.latents"} <= report.fresh.keys()
        assert model.config.prompt_set == "paper" and model.config.text_fusion_config.granularity == "both"

    def test_seg_gets_a_row_when_there_is_none(self, parts, tmp_path):
        folder, phi = parts
        tokenizer = tiny_model.tokenizer()
        rows = len(tokenizer)
        tokenizer.save_pretrained(folder / "mipha")
        config = tiny_sources.config()
        convert_base(folder / "mipha", folder / "m2f.pkl", tmp_path / "out", config)
        model = InstructSegModel.from_pretrained(tmp_path / "out")
        words = phi.model.embed_tokens.weight
        assert len(model.get_input_embeddings().weight) == max(rows, 90)
        torch.testing.assert_close(model.get_input_embeddings().weight[:90], words)
        assert "[SEG]" in AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab()

    def test_another_encoder(self, parts, tmp_path):
        folder, _ = parts
        other = tiny_sources.siglip()
        tiny_sources.write_siglip(tmp_path / "siglip", other)
        report = convert_base(
            folder / "mipha", folder / "m2f.pkl", tmp_path / "out", tiny_sources.config(), tmp_path / "siglip"
        )
        model = InstructSegModel.from_pretrained(tmp_path / "out").eval()
        pixels = torch.randn(1, 3, 28, 28)
        with torch.no_grad():
            wanted = other.vision_model(pixels, output_hidden_states=True).hidden_states[-2]
            seen = model.vision_tokens.encoder(pixels, output_hidden_states=True).hidden_states[-2]
        torch.testing.assert_close(seen, wanted)
        assert "the CLIP-type encoder is taken from another file" in report.ignored.values()
        assert model.config.converted_from["tables"] == ["mipha", "mask2former", "siglip"]

    def test_command(self, parts, tmp_path):
        folder, _ = parts
        tiny_sources.config().save_pretrained(tmp_path)
        done = CliRunner().invoke(app, [
            "convert", "base", "--mipha", str(folder / "mipha"), "--mask2former", str(folder / "m2f.pkl"),
            "--config", str(tmp_path / "config.json"), str(tmp_path / "out"),
        ])  # fmt: skip
        assert done.exit_code == 0, done.output
        assert "the paper's own: OVP" in done.stdout

    def test_every_fresh_rule_is_needed_somewhere(self):
        everything = tiny_sources.config(
            decoder_config={"fpn_bias_relu": True, "mask_position": True},
            auxiliary_config={"text_to_pixel": True, "pixel_classification": True},
            text_fusion_config=None,
        )
        names = [*shapes_of(everything), *shapes_of(tiny_sources.config())]
        patterns = [rule.target.replace("*", "") for rule in BASE_FRESH]
        assert all(any(name.startswith(pattern) for name in names) for pattern in patterns)


class TestWriting:
    def test_nothing_is_left_when_it_fails(self, tmp_path):
        def tensors():
            yield "a", torch.zeros(3)
            raise OSError("no space left on device")

        with pytest.raises(InputError, match="no space left"):
            write_folder(tmp_path / "out", tiny_sources.config(), tensors())
        assert not list(tmp_path.iterdir())

    def test_an_interruption_leaves_nothing(self, tmp_path):
        def tensors():
            yield "a", torch.zeros(3)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_folder(tmp_path / "out", tiny_sources.config(), tensors())
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("shard_bytes", [1, 50, 10_000])
    def test_shards(self, tmp_path, shard_bytes):
        tensors = {f"t{index}": torch.randn(4) for index in range(7)}
        write_folder(tmp_path / "out", tiny_sources.config(), tensors.items(), shard_bytes=shard_bytes)
        weights = WeightFiles(tmp_path / "out")
        assert len(weights.files) == {1: 7, 50: 3, 10_000: 1}[shard_bytes]
        assert all(torch.equal(tensor, tensors[key]) for key, tensor in weights.tensors())
        assert all(f"-of-{len(weights.files):05d}" in file.name for file in weights.files)


# Million parameters of each part, as counted in the authors' model.
BUDGET = {
    "layers": 2517.5, "embed": 128.8, "lm_head": 131.1, "siglip": 428.2, "projector": 9.5, "swin": 86.9,
    "pixel_decoder": 5.5, "predictor": 14.6, "ovp": 110.2, "vmtf": 25.2, "projections": 7.5,
}  # fmt: skip
OUR_PARTS = {
    "layers": "language_model.", "embed": "language_model.embed_tokens.", "lm_head": "lm_head.",
    "siglip": "vision_tokens.encoder.", "projector": "vision_tokens.projector.", "swin": "backbone.",
    "pixel_decoder": "pixel_decoder.", "predictor": "mask_decoder.", "ovp": "perceiver.", "vmtf": "text_fusion.",
}  # fmt: skip


@pytest.fixture(scope="module")
def paper_shapes():
    return shapes_of(released.with_released_behaviour(paper()))


@pytest.mark.parametrize("part", BUDGET)
def test_the_paper_model_has_the_released_number_of_parameters(part, paper_shapes):
    """The released parts have the counted sizes; ours have as many, less what the table ignores."""
    parts = checkpoint.components(checkpoint.Sizes())
    count = lambda shapes: sum(int(np.prod(shape)) for shape in shapes)  # noqa: E731
    real = {key: shape for key, shape in parts[part].items() if not key.endswith("relative_position_index")}
    assert count(real.values()) / 1e6 == pytest.approx(BUDGET[part], abs=0.051)
    plan = make_plan("released", released.TABLE, checkpoint.released_shapes(), paper_shapes)
    kept = {key: shape for key, shape in real.items() if key in plan.mappings}
    filled = [name for key in kept for name in plan.mappings[key].targets]
    assert count(kept.values()) == count(paper_shapes[name] for name in filled)
    if part in OUR_PARTS:
        ours = {name for name in paper_shapes if name.startswith(OUR_PARTS[part])}
        ours -= {name for name in ours if part == "layers" and "embed_tokens" in name}
        others = {"ovp": {"perceiver.latents"}, "vmtf": {name for name in ours if "_projection." in name},
                  "swin": {name for name in ours if name.startswith("backbone.swin.layernorm")}}  # fmt: skip
        assert set(filled) == ours - others.get(part, set())


def test_the_full_size_plan(paper_shapes):
    shapes = checkpoint.released_shapes()
    assert len(shapes) == 1640
    plan = make_plan("released", released.TABLE, shapes, paper_shapes)
    check_complete([plan], paper_shapes, released.FRESH)
    assert len(plan.mappings) + len(plan.ignored) == 1640


def test_the_names_are_the_authors(shared_data):
    file = shared_data / "reference" / "released-state-dict-keys.tsv"
    if not file.is_file():
        pytest.skip(f"no list of released tensors: {file}")
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    listed = {key: tuple(int(side) for side in shape.strip("()").split(",") if side.strip()) for key, shape in lines}
    assert listed == checkpoint.released_shapes()
