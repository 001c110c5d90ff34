"""`instructseg export --onnx`: onnxruntime gives what torch gives, and a program without torch gives the same masks.

Differences are relative to an output's largest absolute value where that is above 1, absolute below.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_model
import torch
from PIL import Image
from typer.testing import CliRunner

from instructseg.cli import app
from instructseg.errors import InputError
from instructseg.inference.segmenter import Segmenter
from instructseg.model.boxes import suppress, without_duplicates
from instructseg.onnx_export.running import differences, expected_of, open_graph, outputs_of
from instructseg.onnx_export.writing import (
    SETTINGS,
    WEIGHTS,
    check_installed,
    graphs_of,
    plain_attention,
    prompt_texts,
    save_together,
    translate,
    write_onnx,
)
from instructseg.types import Task

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "onnx_photo.py"
TOLERANCE = 1e-4
TEXTS = ["the dog", "a big red cat on the left of the image", "a cup"]
SEEDS = {"model_type": "instructseg_seeds", "num_seeds": 3, "num_candidates": 4}


@pytest.fixture(scope="module")
def onnx():
    """Skips the test without the extra `onnx`, or with an older torch."""
    try:
        check_installed()
    except InputError as error:
        pytest.skip(str(error))


@torch.no_grad()
def with_uncertain_detector(model, processor):
    """Random detectors are certain of everything, and equal scores have no order that two libraries share."""
    pixels = processor.prepare_images([tiny_model.photo()]).pixel_values
    largest = model.seed_proposer.detect(pixels).class_logits.abs().max()
    for predictor in model.seed_proposer.detector.predictors:
        predictor.weight *= 3 / largest
        predictor.bias *= 3 / largest
    return model, processor


def reader():
    """The module examples/onnx_photo.py."""
    spec = importlib.util.spec_from_file_location("onnx_photo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(kind):
    if kind == "seeds":
        return with_uncertain_detector(
            *tiny_model.build(**tiny_model.LIKE_NANO, seed_config=SEEDS, score_threshold=0.0)
        )
    if kind == "released":  # the paper's 3B model is built so: other prompts, the image after the references
        return tiny_model.build(
            block_order="released", prompt_set="released", selection="score_x_quality", score_threshold=0.0,
            perceiver_config={"latents_in_keys": True}, text_fusion_config={"granularity": "global"},
            decoder_config={"fpn_bias_relu": True, "mask_position": False},
        )  # fmt: skip
    return tiny_model.build(score_threshold=0.0)


@pytest.fixture(scope="module", params=["seeds", "released"])
def exported(request, tmp_path_factory, onnx):
    """A segmenter with random weights, and its ONNX files."""
    segmenter = Segmenter(*build(request.param), request.param)
    folder = tmp_path_factory.mktemp("onnx") / request.param
    write_onnx(segmenter.model, segmenter.processor, folder)
    return segmenter, folder


def torch_inputs(segmenter, photo, texts, task):
    """Inputs of every graph, each from what torch computed before."""
    processor, graphs = segmenter.processor, graphs_of(segmenter.model, segmenter.processor)
    images = processor.prepare_images([photo])
    named = {"pixel_values": images.pixel_values, "clip_pixel_values": images.clip_pixel_values}
    named = {name: tensor for name, tensor in named.items() if tensor is not None}
    ids = [torch.tensor(processor.prompts.instruction_ids(text)) for text in texts]
    named["words"] = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-1)
    named |= prompt_texts(processor, task)
    for name, graph in graphs.items():
        taken = {key: named[key] for key in graph.inputs}
        expected = expected_of(graph.module, taken)
        yield name, taken, expected
        named |= {key: torch.from_numpy(array) for key, array in expected.items()}


def check_graphs(segmenter, folder, photo, texts, task):
    for name, taken, expected in torch_inputs(segmenter, photo, texts, task):
        found = outputs_of(open_graph(folder / f"{name}.onnx"), taken)
        apart = differences(found, expected)
        assert set(found) == set(expected) and max(apart.values()) < TOLERANCE, (name, apart)


@pytest.mark.slow
def test_the_language_model_of_a_photo(onnx, tmp_path):
    """The smallest graph, so that the exporter is tested each time: the keys and values of the prompt's beginning."""
    segmenter = Segmenter(*build("tiny"), "tiny")
    graph = graphs_of(segmenter.model, segmenter.processor)["prefix"]
    save_together({"prefix": translate(graph)}, tmp_path)
    for task in (Task.RES, Task.REASON_SEG):
        ((_, taken, expected),) = (
            each for each in torch_inputs(segmenter, tiny_model.photo(), TEXTS, task) if each[0] == "prefix"
        )
        found = outputs_of(open_graph(tmp_path / "prefix.onnx"), taken)
        assert max(differences(found, expected).values()) < TOLERANCE


@pytest.mark.long
@pytest.mark.parametrize("texts, task", [(TEXTS, Task.RES), (TEXTS[:1], Task.REASON_SEG)])
def test_each_graph_gives_what_torch_gives(exported, texts, task):
    """With several texts of other lengths than those that the graph was traced with, and with one."""
    check_graphs(*exported, tiny_model.photo(), texts, task)


@pytest.mark.long
def test_the_answer_is_that_of_a_session(exported):
    """From the photo on, through onnxruntime alone, against the library; masks equal, logits to 1e-4."""
    segmenter, folder = exported
    photo = tiny_model.photo(100, 120)
    session = segmenter.open(photo)
    layout = segmenter.processor.layout([TEXTS], [Task.RES], [1])
    with torch.inference_mode():
        visual, prefix = session._prepare(layout, Task.RES)
        expected = segmenter.model.forward_from_features(visual, layout, torch.zeros(1, 1).long(), prefix=prefix)
    model = reader().OnnxModel(folder)
    logits, scores = model.answer(model.encode(Image.fromarray(photo)), TEXTS)
    assert differences({"masks": logits}, {"masks": expected.mask_logits[0].numpy()})["masks"] < TOLERANCE
    np.testing.assert_allclose(scores, expected.score_logits[0].sigmoid().numpy(), atol=TOLERANCE)
    predictions = segmenter.segment(photo, TEXTS, max_masks=1, task=Task.RES)
    found = model.segment(Image.fromarray(photo), TEXTS)
    assert sum(len(prediction.masks) for prediction in predictions) == len(TEXTS)
    for mask, prediction in zip(found, predictions, strict=True):
        assert (mask != prediction.masks[0]).mean() < 0.002 and mask.any()


@pytest.mark.long
def test_weights_that_graphs_share_are_written_once(exported):
    segmenter, folder = exported
    size = sum(tensor.nbytes for tensor in segmenter.model.state_dict().values())
    assert (folder / WEIGHTS).stat().st_size < 1.6 * size  # tiny tensors are padded to whole pages
    settings = json.loads((folder / SETTINGS).read_text())
    assert set(settings["prompts"]) == {"res", "reason_seg"} and settings["score_threshold"] == 0.0
    assert not any(path.name.endswith(".data") for path in folder.iterdir())


@pytest.mark.long
def test_a_program_without_torch_segments_a_photo(exported, tmp_path):
    _, folder = exported
    Image.fromarray(tiny_model.photo()).save(tmp_path / "photo.png")
    without = "import sys, runpy; sys.modules['torch'] = sys.modules['transformers'] = None; sys.argv = sys.argv[1:]; "
    words = [sys.executable, "-c", without + "runpy.run_path(sys.argv[0], run_name='__main__')", str(SCRIPT)]
    done = subprocess.run(
        [*words, str(folder), str(tmp_path / "photo.png"), *TEXTS[:2]], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("of the photo ->") == 2
    assert Image.open(tmp_path / "photo.1.png").size == (56, 40)


@pytest.mark.long
def test_nano(tmp_path, onnx):
    """The shipped weights through the command; onnxruntime against torch on a photo."""
    folder = tmp_path / "nano-onnx"
    done = CliRunner().invoke(app, ["export", "nano", str(folder), "--onnx", "--threshold", "0.05"])
    assert done.exit_code == 0, done.output
    segmenter = Segmenter.load("nano", device="cpu", dtype="float32")
    path = ROOT / "examples" / "coffee.jpg"
    texts = ["the cup", "the spoon on the left"]
    check_graphs(segmenter, folder, np.asarray(Image.open(path)), texts, Task.RES)
    with Image.open(path) as photo:
        masks = reader().OnnxModel(folder).segment(photo, texts)
    for mask, prediction in zip(masks, segmenter.segment(path, texts, max_masks=1, threshold=0.05), strict=True):
        assert (mask != prediction.masks[0]).mean() < 1e-4


def test_resizing_without_torch_is_torchs(onnx):
    logits = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
    for size in ((20, 31), (5, 4)):
        expected = torch.nn.functional.interpolate(logits[None, None], size=size, mode="bilinear")[0, 0]
        np.testing.assert_allclose(reader().resize(logits.numpy(), *size), expected.numpy(), atol=1e-5)


def test_the_layout_of_a_graph_is_that_of_the_processor():
    """The same tokens, positions and visibility, text by text; only padded words stand elsewhere."""
    model, processor = build("tiny")
    graph, layout = graphs_of(model, processor)["answer"], processor.layout([TEXTS], [Task.RES], [1])
    ids = [torch.tensor(processor.prompts.instruction_ids(text)) for text in TEXTS]
    words = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-1)
    named = graph.inputs | {"words": words} | prompt_texts(processor, Task.RES)
    made = graph.module.layout(named, layout.prefix_length)
    for index in range(len(TEXTS)):
        ours, theirs = (each.segments[0] == index + 1 for each in (made, layout))
        for name in ("token_ids", "positions"):
            torch.testing.assert_close(getattr(made, name)[0][ours], getattr(layout, name)[0][theirs])
        assert made.attention_mask()[0, 0][ours].sum() == layout.attention_mask()[0, 0][theirs].sum()
    assert (made.word_slots[~made.word_mask] == made.length).all()


def test_the_attention_is_put_back():
    model, processor = build("tiny")
    encode = graphs_of(model, processor)["encode"].module
    before = model.language_model.config._attn_implementation
    with pytest.raises(RuntimeError), plain_attention(encode):
        assert model.language_model.config._attn_implementation == "sdpa"
        raise RuntimeError
    assert model.language_model.config._attn_implementation == before != "sdpa"


def test_suppression_in_few_steps_is_suppression_row_by_row():
    """The steps that are exported, on a chain of rows of which each repeats the one before, and on random overlaps."""
    chain = torch.eye(20).roll(1, 1)[None] + torch.eye(20)
    random = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0))
    for overlap, limit in ((chain, 0.5), (random, 0.9), (random, 0.5), (random * 0, 0.5)):
        repeats = (overlap > limit).triu(1).float()
        keep, earlier = torch.ones(1, 20), torch.zeros(1, 20)
        while (keep != earlier).any():
            keep, earlier = without_duplicates(keep, repeats), keep
        assert keep.bool().equal(suppress(overlap, limit))
        assert keep.sum() == 10 if overlap is chain else keep.any()


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch, onnx):
    model, processor = build("tiny")
    with pytest.raises(InputError, match=r"float32 on the CPU, got torch.bfloat16"):
        write_onnx(model.bfloat16(), processor, tmp_path / "new")
    words = ["export", "nano", str(tmp_path), "--onnx"]
    done = CliRunner().invoke(app, [*words, "--storage", "int4"])
    assert done.exit_code == 1 and "expected --storage or --onnx, got both" in done.stderr
    (tmp_path / "mine.txt").write_text("mine")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "already exists" in done.stderr
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else name)
    done = CliRunner().invoke(app, ["export", "nano", str(tmp_path / "new"), "--onnx"])
    assert done.exit_code == 1 and "expected onnxscript for ONNX, got none installed; pip install" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_every_graph_is_named():
    assert set(graphs_of(*build("tiny"))) == {"encode", "prefix", "answer"}
