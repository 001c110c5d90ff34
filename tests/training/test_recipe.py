"""Recipes: one schema, and errors that name the key."""

import json
import math
from collections import Counter
from dataclasses import is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import own_files
import pytest
import tiny_model
from typer.testing import CliRunner

import instructseg
from instructseg.cli import app
from instructseg.data.catalogue.registry import entry
from instructseg.errors import CheckpointError, RecipeError
from instructseg.model.losses import LossWeights
from instructseg.training.initial_model import build_config, build_model
from instructseg.training.objective import use_loss
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.recipe_checks import json_schema
from instructseg.training.recipe_files import find_recipe, recipe_name
from instructseg.training.schedule import learning_rate

FOLDER = Path(instructseg.__file__).parent / "recipes"
PAPER = FOLDER / "paper.yaml"
RECIPES = sorted(FOLDER.glob("*.yaml"))


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
    assert weights.mask == weights.dice == weights.score == weights.text == 1.0 and not weights.all_queries
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
        ("output: [5]", "output: expected text, got [5]"),
        ("lora: 5", "lora: expected a section of keys, got 5"),
        ("lora: {targets: q_proj}", "lora.targets: expected a list, got 'q_proj'"),
        ("data: {coco: {a: b}}", "data.coco: expected a list"),
        ("model: {config: 5}", "model.config: expected a section of keys, got 5"),
        ("model: {init: {a: 5}}", "model.init: expected text, got {'a': 5}"),
        ("data: {sources: [{split: train}]}", "data.sources[0]: missing key name; add it"),
        (
            "data: {sources: [{name: composed, ratio: -1}]}",
            "data.sources[0].ratio: expected greater than or equal to 0, got -1",
        ),
        ("data: {sources: [{name: composed, rato: 2}]}", "unknown key data.sources[0].rato; did you mean ratio?"),
        ("data: {sources: [composed]}", "data.sources[0]: expected a section of keys, got 'composed'"),
        (
            "mixed_precision: no",
            "mixed_precision: expected 'no', 'bf16' or 'fp16', got False; write words such as 'no' in quotes",
        ),
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


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{', '.join([f'*{chr(97 + at)}'] * 9)}]\n" for at in range(9)
)

HOSTILE = {
    "aliases for a billion values": (BOMB, "expected at most 5000 values"),
    "an alias of itself": ("a: &a [1, *a]", "alias stands inside"),
    "deep lists": ("a: " + "[" * 10_000, "nested at most 30 deep"),
    "deep sections": ("\n".join(" " * at + "a:" for at in range(60)), "nested at most 30 deep"),
    "too long": ("# " + "x" * 300_000, "at most 100000 bytes"),
    "too many values": ("a: [" + "1," * 6_000 + "]", "expected at most 5000 values"),
    "a number that is none": ("steps: !!int abc", "not valid YAML"),
    "a float that is none": ("learning_rate: !!float abc", "not valid YAML"),
    "a date that is none": ("output: !!timestamp abc", "not valid YAML"),
    "Python objects": ("output: !!python/object/apply:os.getcwd []", "not valid YAML"),
    "a list as key": ("? [1]\n: 2", "not valid YAML"),
    "control characters": ("steps: \x00", "not valid YAML"),
    "two documents": ("steps: 1\n---\nsteps: 2", "not valid YAML"),
}


@pytest.mark.parametrize("text, message", HOSTILE.values(), ids=HOSTILE)
def test_hostile_recipes_are_one_line(text, message, tmp_path):
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=message) as error:
        load_recipe(tmp_path / "recipe.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", ["output: caf\xe9".encode("latin-1"), b"\xff\xfes\x00t\x00", b"output: \xed\xa0\x80"]
)
def test_recipes_that_are_not_utf8(content, tmp_path):
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(RecipeError, match=r"recipe\.yaml is not valid YAML: .*utf-8"):
        load_recipe(tmp_path / "recipe.yaml")


def test_recipes_with_a_byte_order_mark_and_aliases(tmp_path):
    text = "output: &name runs/2024\nmodel: {init: *name}\nseed: 3"
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8-sig")
    loaded = load_recipe(tmp_path / "recipe.yaml")
    assert loaded.output == loaded.model.init == "runs/2024" and loaded.seed == 3


@pytest.mark.parametrize("date", ["2024-05-01", "2024-13-45", "2024-05-01 10:00:00"])
def test_dates_are_text(date, tmp_path):
    (tmp_path / "recipe.yaml").write_text(f"output: {date}")
    assert load_recipe(tmp_path / "recipe.yaml").output == date
    (tmp_path / "recipe.yaml").write_text("")
    assert load_recipe(tmp_path / "recipe.yaml", [f"output={date}"]).output == date


INTEGERS = (
    "seed steps batch_photos accumulate warmup_steps threads validate_every validation_photos lora.rank lora.alpha "
    "data.validation_percent data.expressions data.max_tokens data.workers loss.num_points loss.mask_stride"
).split()
FLOATS = (
    "learning_rate weight_decay clip_norm ema_decay checkpoint_minutes lora.dropout loss.oversample loss.importance "
    "loss.weights.mask loss.weights.class_positive"
).split()


@pytest.mark.parametrize("key", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1e400", "-1", str(2**70)])
def test_numbers_out_of_range(key, value):
    """Each of them would reach torch or NumPy: as an overflow, a million threads, or a training that yields NaN."""
    if value == str(2**70) and key in (*FLOATS, "steps"):  # Python counts steps
        value = "text"
    with pytest.raises(RecipeError, match=key.split(".")[-1]):
        load_recipe("nano", [f"{key}={value}"])


@pytest.mark.parametrize("warmup, steps", [(0, 5), (5, 5), (9, 5)])
def test_odd_schedules(warmup, steps):
    recipe = Recipe(learning_rate=1.0, warmup_steps=warmup, steps=steps)
    assert all(0 <= learning_rate(step, recipe) <= 1 for step in range(steps + 1))


def test_an_unknown_score_target_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("loss: {score_target: iuo}")
    known = "'matched', 'iou', 'present_iou' or 'choice'"
    with pytest.raises(RecipeError, match=rf"loss\.score_target: expected {known}, got 'iuo'"):
        load_recipe(path)


def test_every_error_has_a_line_of_its_own(recipe):
    with pytest.raises(RecipeError) as error:
        recipe("steps: 0\nlora: {rnak: 5}\nloss: {importance: 2}")
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and [line.split(";")[0] for line in lines] == [
        "steps: expected greater than or equal to 1, got 0",
        "unknown key lora.rnak",
        "loss.importance: expected less than or equal to 1, got 2",
    ]


@pytest.mark.parametrize("text, value", [("1e-4", 1e-4), ("5E3", 5000.0), ("-1e+2", -100.0), ("2.e-1", 0.2)])
def test_numbers_with_an_exponent(recipe, text, value):
    """YAML 1.1 takes 1e-4 for text, also inside sections of any keys."""
    loaded = recipe(f"data: {{compose: {{probability: {text}}}}}", f"model.config.scale={text}")
    assert loaded.data.compose["probability"] == loaded.model.config["scale"] == value


def test_point_sampling_can_be_set(recipe):
    loss = recipe("loss: {oversample: 2, importance: 0.5}").loss
    assert (loss.oversample, loss.importance) == (2.0, 0.5)
    model, _ = tiny_model.build()
    use_loss(model, loss)
    assert (model.criterion.oversample, model.criterion.importance) == (2.0, 0.5)


class TestFindRecipe:
    """By bare name, by the old spelling, and by path."""

    @pytest.mark.parametrize(
        "name, file",
        [("nano", "nano.yaml"), ("finetune", "finetune.yaml"), ("paper", "paper.yaml"),
         ("recipes/nano.yaml", "nano.yaml"), ("table6", "ablations/table6.yaml"),
         ("ablations/nano", "ablations/nano.yaml"),
         ("recipes/ablations/table9.yaml", "ablations/table9.yaml"), ("accelerate/ddp", "accelerate/ddp.yaml"),
         ("recipes/accelerate/fsdp2.yaml", "accelerate/fsdp2.yaml")],
    )  # fmt: skip
    def test_packaged(self, name, file, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert find_recipe(name) == FOLDER / file

    def test_a_file_wins_only_with_its_suffix(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "recipes").mkdir()
        for name in ("nano", "nano.yaml", "recipes/nano.yaml", "mine"):
            (tmp_path / name).write_text("steps: 7")
        assert find_recipe("nano") == FOLDER / "nano.yaml"
        assert (
            load_recipe("nano.yaml").steps == load_recipe("recipes/nano.yaml").steps == load_recipe("mine").steps == 7
        )

    @pytest.mark.parametrize(
        "name, message",
        [
            ("nanoo", "there is no recipe .nanoo. among finetune, nano, nano_base, nano_choice, .*; did you mean nano"),
            ("xyz", "there is no recipe 'xyz' among .*; choose one of them, or give the path of a .yaml file"),
            ("nano.yaml", "the recipe nano.yaml does not exist; did you mean the packaged recipe nano"),
            ("recipes/none.yaml", "the recipe recipes/none.yaml does not exist"),
            ("folder/nano.yaml", "the recipe folder/nano.yaml does not exist; did you mean the packaged recipe nano"),
        ],
    )
    def test_none(self, name, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(RecipeError, match=message):
            find_recipe(name)

    def test_the_name_to_print(self):
        assert recipe_name(FOLDER / "paper.yaml") == "paper" and recipe_name(Path("a/b.yaml")) == "a/b.yaml"


def sections(kind=Recipe):
    """Every section of a recipe."""
    yield kind
    for hint in get_type_hints(kind).values():
        for inner in (hint, *get_args(hint)):
            if is_dataclass(inner):
                yield from sections(inner)


class TestSchema:
    def test_the_command_prints_it(self):
        result = CliRunner().invoke(app, ["train", "--schema"])
        assert result.exit_code == 0, result.output
        schema = json.loads(result.stdout)
        assert schema["properties"]["steps"] == {
            "default": 2000, "description": "Number of optimizer steps.", "minimum": 1, "title": "Steps",
            "type": "integer",
        }  # fmt: skip
        assert schema["additionalProperties"] is False
        assert schema["properties"]["mixed_precision"]["enum"] == ["no", "bf16", "fp16"]

    def test_every_key_is_described(self):
        schema = json_schema(Recipe)
        described = [
            schema,
            *(schema["$defs"][kind.__name__] for kind in set(sections()) if kind not in (Recipe, LossWeights)),
        ]
        assert len(described) == 7
        assert not [name for part in described for name, key in part["properties"].items() if "description" not in key]

    def test_the_command_without_a_recipe(self):
        result = CliRunner().invoke(app, ["train"])
        assert result.exit_code == 2 and "expected a recipe, got none" in result.stderr

    def test_the_path_of_a_packaged_file(self):
        result = CliRunner().invoke(app, ["train", "accelerate/ddp", "--path"])
        assert result.exit_code == 0 and Path(result.stdout.strip()) == FOLDER / "accelerate" / "ddp.yaml"


def test_text_stays_text(tmp_path, monkeypatch):
    """Folders are called 2024, 2024-05-01, 1e5, no or "a #1"; YAML reads a number, a date, a boolean and a comment."""
    file = tmp_path / "own.yaml"
    file.write_text(
        "output: 2024-05-01\nseed: 3\nmodel: {init: 1e5}\n"
        "data: {root: 0x10, coco: [{annotations: 2024, images: no}], sources: [{name: composed, root: 1_000}]}\n"
    )
    read = load_recipe(file)
    assert (read.output, read.seed, read.model.init, read.data.root) == ("2024-05-01", 3, "1e5", "0x10")
    assert read.data.coco == ({"annotations": "2024", "images": "no"},) and read.data.sources[0].root == "1_000"
    for word in ("2024", "2024-05-01", "a #1", "[a]", "no", "1:30", "{x", "~/x", "a: b"):
        assert load_recipe(file, [f"output={word}"]).output == word
        assert load_recipe(file, [f"data.root={word}"]).data.root == word
    assert load_recipe(file, ['output="a b"']).output == "a b"
    assert load_recipe(file, ["model.init=null"]).model.init is None
    assert load_recipe(file, ["data.coco=[{annotations: 2024, images: 1.50}]"]).data.coco[0]["images"] == "1.50"
    assert load_recipe(file, ["seed=7", "lora.rank=4"]).seed == 7
    monkeypatch.chdir(tmp_path)
    for name in ("2024", "2024-05-01", "a #1", "no", "[x]"):
        own_files.write_labelme(tmp_path / name)
        data = load_recipe("nano", [f"data={name}"]).data
        assert data.labelme == ({"folder": str(tmp_path / name)},)
    with pytest.raises(RecipeError, match="data: expected a section of keys, got None"):
        load_recipe("nano", ["data="])


def test_initial_weights_that_are_not_there(tmp_path, monkeypatch):
    """The paper's recipe names a folder that `convert base` writes; the hub is not asked for it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        RecipeError, match=r"model\.init: .*paper-base' not found.* `instructseg convert base \./weights/pap"
    ):
        build_model(load_recipe("paper"))
    (tmp_path / "config.json").write_text('{"model_type": "mipha_phi"}')
    with pytest.raises(CheckpointError, match="instructseg convert released"):
        build_model(load_recipe("paper", [f"model.init={tmp_path}"]))
