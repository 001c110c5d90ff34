"""However a batch is cut, what is learned is the same: in pieces, over processes, with activations computed twice."""

import mixed_world
import pytest
import tiny_model
import torch
from accelerate.state import AcceleratorState
from painted_world import REPOSITORY, found, python
from transformers.models.llama.modeling_llama import LlamaMLP

from instructseg.model.modeling import InstructSegModel
from instructseg.training import run as training
from instructseg.training.logging.run_log import read_log
from instructseg.training.recipe import load_recipe

RECIPES = REPOSITORY / "src" / "instructseg" / "recipes"
# Everything random but the points is off; expressions differ in number between photos, and some have no target.
PLAIN = ("lora.dropout=0", "ema_decay=0", "validate_every=1000", "batch_photos=4", "steps=10")
BOTH_TARGETS = ["loss.score_target=matched", "loss.score_target=present_iou"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return found(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def fresh_state():
    AcceleratorState._reset_state(True)


def start(world, output, *overrides):
    return training.Run(load_recipe(world / "recipe.yaml", [f"output={output}", *PLAIN, *overrides]))


def trained(world, output, *overrides):
    """Weights at the end and the log of a run."""
    run = start(world, output, *overrides)
    run.train()
    state = torch.load(output / "checkpoints" / "last.pt", weights_only=True)
    return state["trained"], read_log(output / "log.jsonl")


def furthest(first, second):
    """The largest difference of two sets of weights, in those that have a gradient at all.

    A bias of keys cancels in the softmax, and one before a normalisation of single channels there: their gradients are
    rounding, which AdamW blows up to whole steps that change no output.
    """
    felt = [name for name in first if not name.endswith("k_proj.bias") and "input_projections" not in name]
    return max(float((first[name] - second[name]).abs().max()) for name in felt)


@pytest.mark.parametrize("extra", BOTH_TARGETS)
def test_in_pieces(world, tmp_path, extra):
    """One update from a batch at once, in 2 and in 4 pieces: gradients are equal to rounding."""
    gradients = []
    for pieces in (1, 2, 4):
        AcceleratorState._reset_state(True)
        run = start(world, tmp_path / str(pieces), f"accumulate={pieces}", "loss.weights.all_queries=1", extra)
        run.optimizer.step = run.optimizer.zero_grad = lambda: None
        run.collate = training.Collator(run.processor, location_cells=12)
        mixture = training.open_mixture(run.recipe.data, 2, 4, 10, seed=3)
        batches = training.TrainingBatches(mixture, run.collate, run.share, 0, 10)
        parts, asked = run.one_step(batches[0])
        gradients.append(({name: each.grad.clone() for name, each in run.trained.items()}, parts, asked))
    (whole, parts, asked), *others = gradients
    scale = max(float(each.abs().max()) for each in whole.values())
    assert scale > 0.01 and asked > 4
    for other, other_parts, other_asked in others:
        assert other_asked == asked and other_parts == pytest.approx(parts, rel=1e-5)
        assert furthest(whole, other) < 1e-5 * scale


def test_a_run_in_pieces_ends_where_the_whole_one_does(world, tmp_path):
    whole, log = trained(world, tmp_path / "whole")
    pieces, other = trained(world, tmp_path / "pieces", "accumulate=2")
    assert furthest(whole, pieces) < 1e-4
    assert other[0]["losses"] == pytest.approx(log[0]["losses"], rel=1e-5, abs=1e-4)


def test_checkpointed_activations_give_the_same_gradients(world, tmp_path, monkeypatch):
    found, calls, forward = [], [], LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda *args, **more: calls.append(1) or forward(*args, **more))
    for way in ("false", "true"):
        AcceleratorState._reset_state(True)
        run = start(world, tmp_path / way, f"gradient_checkpointing={way}", "lora.dropout=0.2")
        run.optimizer.step = run.optimizer.zero_grad = lambda: None
        mixture = training.open_mixture(run.recipe.data, 2, 4, 10, seed=3)
        batches = training.TrainingBatches(
            mixture, training.Collator(run.processor, location_cells=12), run.share, 0, 10
        )
        calls.clear()
        run.one_step(batches[0])
        found.append(({name: each.grad for name, each in run.trained.items()}, len(calls)))
    (plain, once), (checkpointed, twice) = found
    assert (once, twice) == (2, 4), "each layer runs again in the backward pass"
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


SOURCES = (
    "data.sources=[{name: composed, ratio: 2}, {name: ref_youtube_vos}, "
    "{name: llava_instruct, split: llava_instruct_150k}]"
)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(world, tmp_path):
    """gloo on the CPU by `accelerate launch`: the same losses and weights at the same global batch of any kind."""
    mixed_world.write_talk(world)
    mixed_world.write_clips(world)
    alone, log = trained(world, tmp_path / "one", SOURCES)
    config = RECIPES / "accelerate" / "ddp.yaml"
    overrides = [f"output={tmp_path / 'two'}", *PLAIN, SOURCES]
    launch = ["-m", "accelerate.commands.launch", "--config_file", config, "--num_processes", "2"]
    done = python(*launch, "-m", "instructseg", "train", world / "recipe.yaml", *overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    together = torch.load(tmp_path / "two" / "checkpoints" / "last.pt", weights_only=True)["trained"]
    other = read_log(tmp_path / "two" / "log.jsonl")
    assert [line["step"] for line in other] == [line["step"] for line in log]
    assert other[0]["losses"] == pytest.approx(log[0]["losses"], rel=1e-5, abs=1e-4)
    assert other[0]["instructions"] == log[0]["instructions"] and {"text", "mask"} <= log[0]["losses"].keys()
    assert 0 < furthest(alone, together) < 1e-4, "two processes round otherwise than one"


@pytest.mark.long
def test_weights_divided_among_processes_learn_the_same(world, tmp_path):
    """FSDP2 over gloo, from float16 weights, left at step 6 and resumed: losses and weights as in one process, [SEG]'s
    row included."""
    # The scale of the pixel classification head is a scalar, which FSDP cannot shard.
    model, processor = tiny_model.build(auxiliary_config={"pixel_classification": False})
    model.half().save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    init = f"model.init={tmp_path / 'tiny'}"
    words = "model.word_embeddings=seg"
    alone, log = trained(world, tmp_path / "one", init, words)
    config = (RECIPES / "accelerate" / "fsdp2.yaml").read_text().replace("PhiDecoder", "LlamaDecoder")
    (tmp_path / "fsdp2.yaml").write_text(config)
    launch = ["-m", "accelerate.commands.launch", "--config_file", tmp_path / "fsdp2.yaml", "--num_processes", "2"]
    overrides = [f"output={tmp_path / 'two'}", *PLAIN, init, words, "validate_every=10"]
    for stop in (6, 100):
        once = f"checkpoint_minutes={0 if stop == 6 else 1000}"
        script = REPOSITORY / "tests" / "support" / "divided_weights.py"
        done = python(*launch, script, world / "recipe.yaml", str(stop), *overrides, once)
        assert done.returncode == 0, done.stderr[-3000:]
        state = torch.load(tmp_path / "two" / "checkpoints" / "last.pt", weights_only=True)
        assert state["step"] == min(stop, 10)
    other = read_log(tmp_path / "two" / "log.jsonl")
    assert other[0]["losses"] == pytest.approx(log[0]["losses"], rel=1e-4)
    assert 0 < furthest(alone, state["trained"]) < 1e-4
    assert other[1]["validation"]["all"]["count"] == log[1]["validation"]["all"]["count"]
    exported = InstructSegModel.from_pretrained(tmp_path / "two" / "model").state_dict()
    named = [name for name in alone if "lora" not in name and "token_row" not in name]
    assert all(torch.equal(exported[name], state["trained"][name]) for name in named) and len(named) > 100
    seg = processor.prompts.seg_id
    assert torch.equal(exported["language_model.embed_tokens.weight"][seg], state["trained"][f"token_row.input_{seg}"])


@pytest.mark.long
def test_divided_bfloat16_weights(world, tmp_path):
    """FSDP2 with frozen weights in bfloat16 and trained ones in float32: it trains, validates and saves."""
    model, processor = tiny_model.build(auxiliary_config={"pixel_classification": False})
    model.bfloat16().save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    config = (RECIPES / "accelerate" / "fsdp2.yaml").read_text().replace("PhiDecoder", "LlamaDecoder")
    (tmp_path / "fsdp2.yaml").write_text(config)
    launch = ["-m", "accelerate.commands.launch", "--config_file", tmp_path / "fsdp2.yaml", "--num_processes", "2"]
    overrides = [*PLAIN, f"output={tmp_path / 'run'}", f"model.init={tmp_path / 'tiny'}", "steps=1", "validate_every=1",
                 "model.dtype=mixed", "mixed_precision=bf16"]  # fmt: skip
    done = python(*launch, REPOSITORY / "tests/support/divided_weights.py", world / "recipe.yaml", "100", *overrides)
    assert done.returncode == 0, done.stderr[-3000:]
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] == 1 and {value.dtype for value in state["trained"].values()} == {torch.float32}
    exported = InstructSegModel.from_pretrained(tmp_path / "run" / "model", dtype=torch.float32).state_dict()
    named = [name for name in state["trained"] if "lora" not in name]
    assert all(torch.equal(exported[name], state["trained"][name]) for name in named) and len(named) > 100
