"""What trains, adapters that leave no trace, and averages of weights."""

import pytest
import tiny_model
import torch

from instructseg.errors import RecipeError
from instructseg.training.parameters import MovingAverage, add_lora, choose_trainable, merge_lora
from instructseg.training.recipe import LoraRecipe


@pytest.fixture
def adapted():
    model, processor = tiny_model.build()
    add_lora(model, LoraRecipe(rank=2, alpha=4, targets=("q_proj", "v_proj")))
    return model, processor


@pytest.mark.parametrize("changes", [{}, tiny_model.LIKE_NANO], ids=["tiny", "like_nano"])
def test_encoders_and_language_model_are_frozen_and_the_rest_learns(changes):
    model, processor = tiny_model.build(**changes)
    add_lora(model, LoraRecipe(rank=2))
    groups = choose_trainable(model)
    parameters = dict(model.named_parameters())
    assert sorted(name for names in groups.values() for name in names) == sorted(parameters)
    assert {name for name, each in parameters.items() if each.requires_grad} == {*groups["trained"], *groups["lora"]}
    assert all("lora_" in name and name.startswith("language_model.") for name in groups["lora"])
    assert len(groups["lora"]) == 2 * 2 * 2, "A and B of queries and values in two layers"
    assert not [name for name in groups["trained"] if "encoder." in name or name.startswith(("backbone", "lang", "lm"))]
    assert any(name.startswith("backbone.") for name in groups["frozen encoder"])
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog", "cat"]))
    model.train()
    model(**inputs.model_kwargs, targets=tiny_model.targets(inputs)).loss.backward()
    still = {name for name, each in parameters.items() if each.grad is None or not each.grad.any()}
    assert not still & set(groups["trained"])
    assert {name for name in groups["lora"] if "lora_B" in name} & still == set()
    assert all(parameters[name].grad is None for name in (*groups["frozen encoder"], *groups["frozen language model"]))


def test_modules_that_the_model_does_without_may_be_named():
    """The recipe for own data names the seed proposals, which only some models have."""
    model, _ = tiny_model.build()
    groups = choose_trainable(model, ["mask_decoder", "seed_proposer"], ["seed_proposer.head"])
    assert groups["trained"] == [name for name, _ in model.named_parameters() if name.startswith("mask_decoder.")]
    with pytest.raises(RecipeError, match="this model has no 'seed_proposer'"):
        choose_trainable(model, ["seed_proposer"])
    with pytest.raises(RecipeError, match="got 'seed_proposr'"):
        choose_trainable(model, ["mask_decoder", "seed_proposr"])
    with pytest.raises(RecipeError, match="got 'forward'"):
        choose_trainable(model, ["forward"])


def test_adapters_start_without_effect_and_are_merged_without_trace(adapted):
    model, processor = adapted
    plain, _ = tiny_model.build()
    inputs = tiny_model.prepare(processor, ([tiny_model.photo()], ["the dog", "cat"]))

    @torch.no_grad()
    def answer(each):
        return each(**inputs.model_kwargs).mask_logits

    torch.testing.assert_close(answer(model), answer(plain))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    learnt = answer(model)
    assert (learnt - answer(plain)).abs().max() > 1e-3
    merge_lora(model)
    torch.testing.assert_close(answer(model), learnt, atol=1e-4, rtol=1e-3)
    assert model.state_dict().keys() == plain.state_dict().keys()
    same = [torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items()]
    assert same.count(False) == 4


def test_the_average_is_the_weighted_sum_of_the_past():
    parameter = torch.nn.Parameter(torch.tensor([0.0, 8.0]))
    average = MovingAverage([parameter], decay=0.5)
    expected = parameter.detach().clone()
    for step in range(12):
        with torch.no_grad():
            parameter += torch.tensor([1.0, -step])
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
    torch.testing.assert_close(average.shadow[0], expected)


def test_swapping_twice_changes_nothing():
    model, _ = tiny_model.build()
    parameters = list(model.parameters())[:20]
    average = MovingAverage(parameters, decay=0.9)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 1
    live, shadow = ([each.detach().clone() for each in group] for group in (parameters, average.shadow))
    average.swap()
    assert all(map(torch.equal, parameters, shadow)) and all(map(torch.equal, average.shadow, live))
    average.swap()
    assert all(map(torch.equal, parameters, live)) and all(map(torch.equal, average.shadow, shadow))
