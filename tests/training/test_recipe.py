"""Recipes: one schema, and errors that name the key."""

import math
from collections import Counter
from pathlib import Path

import pytest

from instructseg.data.catalogue.registry import entry
from instructseg.errors import RecipeError
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.schedule import learning_rate
from instructseg.training.initial_model import build_config

PAPER = Path(__file__).parents[2] / "src" / "instructseg" / "recipes" / "paper.yaml"
RECIPES = sorted((Path(__file__).parents[2] / "src" / "instructseg" / "recipes").glob("*.yaml"))


@pytest.fixture
def recipe(tmp_path):
    def write(text="", *overrides):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return load_recipe(path, overrides)

    return write


def test_an_empty_recipe_is_the_defaults(recipe):
    assert recipe() == Recipe()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_can_be_read(path):
    loaded = load_recipe(path)
    assert loaded.steps > loaded.warmup_steps > 0 and loaded.model.init != ""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_what_a_run_writes_down_is_the_recipe(path, recipe):
    loaded = load_recipe(path, ["model.config.decoder_config={pixel_layers: 3}", "loss.weights.class_positive=null"])
    assert recipe(loaded.as_yaml()) == loaded


def test_the_papers_recipe_says_what_the_paper_says():
    """Section 4 and supplement A; its data are datasets of the catalogue, its model a preset that can be built."""
    loaded = load_recipe(PAPER)
    assert (loaded.steps, loaded.batch_photos, loaded.warmup_steps) == (80_000, 32, 1680)
    assert (loaded.learning_rate, loaded.weight_decay, loaded.lora.rank) == (4e-5, 0.0, 8)
    weights = loaded.loss.weights
    assert weights.mask == weights.dice == weights.score == weights.text == 1.0 and not weights.every
    config = build_config(loaded.model)
    assert (config.perceiver_config.depth, config.text_fusion_config.depth, config.num_reference_frames) == (3, 3, 4)
    for source in (*loaded.data.sources, *loaded.data.validation):
        assert source.split in entry(source.name).splits, source
    shares = Counter()
    for source in loaded.data.sources:
        shares[source.name.removesuffix("+").removesuffix("g")] += source.ratio / 3
    released = {"refcoco": 4, "reason_se": 1, "ref_youtube_vos": 4, "revos": 3, "llava_instruct": 2}
    assert shares == pytest.approx(released)


def test_values_and_overrides(recipe):
    loaded = recipe(
        "steps: 7\nlora: {rank: 2, targets: [q_proj]}\nlearning_rate: 1e-4\nloss: {weights: {mask: 5}}",
        "steps=9", "mixed_precision=no",
        "data.root=/data/a b", "loss.weights.class_positive=4", "data.compose.size=64", "model.init=null",
    )  # fmt: skip
    assert loaded.mixed_precision == "no"
    assert (loaded.steps, loaded.lora.rank, loaded.lora.targets) == (9, 2, ("q_proj",))
    assert loaded.learning_rate == 1e-4 and loaded.loss.weights.mask == 5.0
    assert isinstance(loaded.loss.weights.mask, float) and loaded.loss.weights.class_positive == 4.0
    assert loaded.data.root == "/data/a b" and loaded.data.compose == {"size": 64} and loaded.model.init is None


@pytest.mark.parametrize(
    "text, message",
    [
        ("step: 5", "unknown key step; did you mean steps?"),
        ("lora: {rnak: 5}", "unknown key lora.rnak; did you mean rank?"),
        ("loss: {weights: {masks: 5}}", "unknown key loss.weights.masks; did you mean mask?"),
        ("xyz: 5", "unknown key xyz; known keys: output, seed, steps"),
        ("steps: 1.5", "steps: expected a whole number, got 1.5"),
        ("steps: true", "steps: expected a whole number, got True"),
        ("steps: '5'", "steps: expected a whole number, got '5'"),
        ("steps: null", "steps: expected a whole number, got None"),
        ("learning_rate: fast", "learning_rate: expected a number, got 'fast'"),
        ("learning_rate: true", "learning_rate: expected a number, got True"),
        ("output: 5", "output: expected text, got 5"),
        ("lora: 5", "lora: expected a section of keys, got 5"),
        ("lora: {targets: q_proj}", "lora.targets: expected a list, got 'q_proj'"),
        ("data: {coco: {a: b}}", "data.coco: expected a list"),
        ("model: {config: 5}", "model.config: expected a section of keys, got 5"),
        ("model: {init: 5}", "model.init: expected text, got 5"),
        ("data: {sources: [{split: train}]}", "data.sources[0]: the key name is missing; add it"),
        ("data: {sources: [{name: composed, ratio: -1}]}", "data.sources[0].ratio: expected greater than or equal to 0, got -1"),
        ("data: {sources: [{name: composed, rato: 2}]}", "unknown key data.sources[0].rato; did you mean ratio?"),
        ("data: {sources: [composed]}", "data.sources[0]: expected a section of keys, got 'composed'"),
        ("mixed_precision: no", "mixed_precision: expected 'no', 'bf16' or 'fp16', got False; write words such as 'no' in quotes"),
        ("mixed_precision: bf17", "mixed_precision: expected 'no', 'bf16' or 'fp16', got 'bf17'"),
        ("accumulate: 0", "accumulate: expected greater than or equal to 1, got 0"),
        ("report: [wandbb]", "report[0]: expected 'tensorboard', 'wandb', 'trackio'"),
        ("- 1\n- 2", "the recipe: expected a section of keys, got [1, 2]"),
        ("a: [", "is not valid YAML"),
    ],
)
def test_what_does_not_fit_is_named(recipe, text, message):
    with pytest.raises(RecipeError) as error:
        recipe(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "override, message",
    [
        ("steps", "expected an override key=value, got 'steps'; write it as steps=100"),
        ("stepps=3", "unknown key stepps; did you mean steps?"),
        ("steps.more=3", "cannot set steps.more: steps is not a section of keys"),
        ("steps=many", "steps: expected a whole number, got 'many'"),
        ("steps=[", "is not valid YAML"),
    ],
)
def test_overrides_that_do_not_fit(recipe, override, message):
    with pytest.raises(RecipeError) as error:
        recipe("steps: 5", override)
    assert message in str(error.value)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.yaml does not exist"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match="cannot set steps: the recipe is not a section"):
        load_recipe(tmp_path / "list.yaml", ["steps=3"])
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path)


def test_learning_rate_rises_then_falls_to_zero():
    recipe = Recipe(learning_rate=0.5, warmup_steps=10, steps=110)
    rates = [learning_rate(step, recipe) for step in range(111)]
    assert rates[:10] == pytest.approx([0.5 * (step + 1) / 10 for step in range(10)])
    assert rates[10] == 0.5 == max(rates) and rates[60] == pytest.approx(0.25)
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[110] == pytest.approx(0, abs=1e-12)
    assert rates[35] == pytest.approx(0.25 * (1 + math.cos(math.pi / 4)))


@pytest.mark.parametrize("warmup, steps", [(0, 5), (5, 5), (9, 5)])
def test_odd_schedules(warmup, steps):
    recipe = Recipe(learning_rate=1.0, warmup_steps=warmup, steps=steps)
    assert all(0 <= learning_rate(step, recipe) <= 1 for step in range(steps + 1))


def test_an_unknown_score_target_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("loss: {score_target: iuo}")
    with pytest.raises(RecipeError, match=r"loss\.score_target: expected 'matched', 'iou' or 'present_iou', got 'iuo'"):
        load_recipe(path)
