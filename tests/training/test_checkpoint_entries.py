"""A checkpoint fits its run to the last name, or says what does not."""

import copy

import pytest
import tiny_model
import torch
import yaml

from instructseg.errors import CheckpointError
from instructseg.training.checkpoint_entries import Progress, capture, changed_keys, is_valid, restore
from instructseg.training.distributed.state_managers import ReplicatedState
from instructseg.training.parameters import MovingAverage
from instructseg.training.recipe import LoraRecipe, ModelRecipe, Recipe


@pytest.fixture
def run():
    """Two parameters that were trained for three steps, their optimizer, average and state."""
    torch.manual_seed(0)
    trained = {name: torch.nn.Parameter(torch.randn(shape)) for name, shape in (("a.weight", (3, 2)), ("b", (4,)))}
    optimizer = torch.optim.AdamW(trained.values(), lr=0.1)
    average = MovingAverage(list(trained.values()), 0.5)
    for step in range(3):
        sum(parameter.square().sum() for parameter in trained.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(step)
    return trained, optimizer, average


def fresh(names=("a.weight", "b"), shapes=((3, 2), (4,)), averaged=True):
    trained = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in zip(names, shapes, strict=True)}
    average = MovingAverage(list(trained.values()), 0.5) if averaged else None
    return trained, torch.optim.AdamW(trained.values(), lr=0.1), average


def saved(run):
    trained, optimizer, average = run
    progress = Progress(step=3, instructions=17, seconds=4.5)
    progress.window.add({"mask": 2.0}, 1)
    return copy.deepcopy(capture(Recipe(), progress, average) | ReplicatedState(None, optimizer, trained).gather())


def test_everything_comes_back(run):
    trained, optimizer, average = fresh()
    progress, state = Progress(), saved(run)
    restore(state, progress, trained, average)
    ReplicatedState(None, optimizer, trained).restore(state)
    assert (progress.step, progress.instructions, progress.seconds) == (3, 17, 4.5)
    assert progress.window.means() == {"mask": 2.0}
    assert all(torch.equal(trained[name], run[0][name]) for name in trained)
    assert all(map(torch.equal, average.shadow, run[2].shadow))
    for each in (run, (trained, optimizer, average)):
        sum(parameter.square().sum() for parameter in each[0].values()).backward()
        each[1].step()
    assert all(torch.equal(trained[name], run[0][name]) for name in trained), "the optimizer's moments came along"


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"names": ("a.weight", "c")},
            "1 trained parameters are missing from it, first c; 1 of its .* this run, first b;",
        ),
        ({"names": ("a.weight",), "shapes": ((3, 2),)}, "does not fit this run: 1 of its parameters .* first b;"),
        ({"shapes": ((3, 5), (4,))}, r"shape mismatch of a\.weight: \(3, 2\) in it, \(3, 5\) in this run"),
        ({"names": ("b", "a.weight"), "shapes": ((4,), (3, 2))}, "in a different order"),
        ({"averaged": False}, "saved with a moving average of the weights; restore the original ema_decay"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(run, changes, message):
    trained, _, average = fresh(**changes)
    progress = Progress()
    with pytest.raises(CheckpointError, match=message):
        restore(saved(run), progress, trained, average)
    assert progress.step == 0 and not any(parameter.any() for parameter in trained.values())


def test_changes_of_the_recipe_that_matter():
    before = Recipe().as_yaml()
    assert changed_keys(before, Recipe(threads=4, accumulate=2, output="elsewhere", validate_every=7)) == []
    now = Recipe(steps=9, lora=LoraRecipe(rank=3))
    assert changed_keys(before, now) == ["lora.rank", "steps"]
    without = Recipe(model=ModelRecipe(config={"perceiver_config": None}))
    assert changed_keys(before, without)[-1] == "model.config.perceiver_config", "none is not the same as unsaid"


def test_a_recipe_of_an_older_version():
    """Keys that are younger count with their defaults; keys that are gone do not stop the comparison."""
    tree = Recipe().as_tree()
    del tree["gradient_checkpointing"], tree["loss"]["mask_stride"]
    assert changed_keys(yaml.safe_dump(tree), Recipe()) == []
    assert changed_keys(yaml.safe_dump(tree | {"gone": 1}), Recipe(steps=9)) == ["gone", "loss.mask_stride", "steps"]


def test_the_model_is_what_a_plain_process_exports():
    model, _ = tiny_model.build()
    assert ReplicatedState(model, None, {}).export(LoraRecipe()) is model


def test_a_checkpoint_is_valid_with_all_its_entries_and_their_types(run):
    state = saved(run)
    assert is_valid(state) and is_valid(state | {"optimizer": "deepspeed_000000"})
    for name in ("step", "instructions", "seconds", "average", "trained", "optimizer"):
        assert not is_valid({key: value for key, value in state.items() if key != name}), name
        assert not is_valid(state | {name: None}), name
    assert not is_valid(state | {"trained": {"a.weight": 3}}) and not is_valid(state | {"average": [1.0]})
