"""Number formats of a run: the forward pass on CPUs without bfloat16, and the weights from files of every format."""

from collections import Counter

import painted_world
import pytest
import tiny_model
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from instructseg.errors import RecipeError
from instructseg.model.modeling import InstructSegModel
from instructseg.training import precision
from instructseg.training import run as training
from instructseg.training.recipe import load_recipe

FORMATS = ("float32", "float16", "bfloat16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the choice is about CPUs")
def test_bf16_becomes_float32_where_it_is_slow(monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: False)
    with pytest.warns(UserWarning, match="no fast bfloat16"):
        assert precision.usable_precision("bf16") == "no"
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: True)
    assert precision.usable_precision("bf16") == "bf16"


def test_other_precisions_stay():
    assert precision.usable_precision("no") == "no"
    assert precision.usable_precision("fp16") == "fp16"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A painted world with one tiny model stored in each format, and one built like nano."""
    folder = painted_world.found(tmp_path_factory.mktemp("formats"))
    for kind, changes in (("paper", {}), ("nano", tiny_model.LIKE_NANO)):
        for name in FORMATS:
            model, processor = tiny_model.build(**changes)
            model.to(getattr(torch, name)).save_pretrained(folder / f"{kind}-{name}")
            processor.save_pretrained(folder / f"{kind}-{name}")
    return folder


@pytest.fixture
def start(world, tmp_path):
    def run(name, *overrides):
        AcceleratorState._reset_state(True)
        settings = (f"model.init={world / name}", f"output={tmp_path / name}", "steps=1", "warmup_steps=0", *overrides)
        return training.Run(load_recipe(world / "recipe.yaml", ["validate_every=1", "ema_decay=0", *settings]))

    return run


def formats_of(model):
    return Counter(parameter.dtype for parameter in model.parameters())


@pytest.mark.parametrize("stored", FORMATS)
def test_master_weights_are_float32_whatever_is_stored(start, stored):
    """Fresh parts too; nearly every trained tensor moves in one step, and the result is stored in float32."""
    run = start(f"paper-{stored}", "model.fresh=[perceiver]", "model.config={num_reference_frames: 3}")
    assert set(formats_of(run.model)) == {torch.float32}
    before = {name: value.detach().clone() for name, value in run.trained.items()}
    folder = run.train()
    moved = [name for name, value in run.trained.items() if not torch.equal(value, before[name])]
    assert len(moved) > 0.9 * len(before)
    saved = load_file(folder / "model.safetensors").values()
    assert {tensor.dtype for tensor in saved if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("words", ["frozen", "seg", "all"])
@pytest.mark.parametrize(("kind", "chosen"), [("paper", "mixed"), ("nano", "mixed"), ("paper", "bfloat16")])
def test_bfloat16_weights_by_choice(start, monkeypatch, kind, chosen, words):
    """Frozen parts alone, or all weights: they train, are validated and saved, and the saved model loads."""
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: True)
    settings = ("mixed_precision=bf16", "model.train=[mask_decoder]", f"model.word_embeddings={words}")
    run = start(f"{kind}-float16", f"model.dtype={chosen}", *settings)
    trained = {parameter.dtype for parameter in run.trained.values()}
    assert trained == {torch.float32 if chosen == "mixed" else torch.bfloat16}
    table = run.model.get_input_embeddings().weight
    assert (table.requires_grad and any(table is weight for weight in run.trained.values())) == (words == "all")
    frozen = [*run.model.backbone.parameters(), *([] if words == "all" else [table])]
    assert {parameter.dtype for parameter in frozen} == {torch.bfloat16}
    before = {name: value.detach().clone() for name, value in run.trained.items()}
    folder = run.train()
    assert any(not torch.equal(value, before[name]) for name, value in run.trained.items())
    assert set(formats_of(InstructSegModel.from_pretrained(folder, dtype=torch.float32))) == {torch.float32}


def test_bfloat16_weights_need_bf16(start):
    with pytest.raises(RecipeError, match=r"model\.dtype: mixed needs mixed_precision bf16, got 'no'"):
        start("paper-float32", "model.dtype=mixed", "mixed_precision=no")


def test_weights_stay_float32_where_bf16_is_slow(start, monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="no fast bfloat16"):
        run = start("paper-float16", "model.dtype=mixed", "mixed_precision=bf16")
    assert set(formats_of(run.model)) == {torch.float32}
