"""A whole training run on a painted world: it learns, survives interruptions, and leaves a model that loads."""

import numpy as np
import pytest
import tiny_model
import torch
from accelerate.state import AcceleratorState
from painted_world import HELD_OUT, RECIPE, TRAINED_ON, paint, weights_of

from instructseg.conversion import nano_base
from instructseg.data.readers.split import is_validation
from instructseg.errors import InputError, RecipeError
from instructseg.inference.segmenter import Segmenter
from instructseg.model import presets
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.training import initial_model as starting
from instructseg.training import run as training
from instructseg.training.data.validation_split import open_validation
from instructseg.training.logging.progress import StepWindow
from instructseg.training.logging.run_log import RunLog, read_log
from instructseg.training.recipe import ModelRecipe, Recipe, load_recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    paint(folder)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(autouse=True)
def tiny_instead_of_pretrained(monkeypatch):
    def build(recipe):
        config = tiny_model.config()
        return InstructSegModel(config), InstructSegProcessor.for_config(config, tiny_model.tokenizer())

    monkeypatch.setattr(training, "build_model", build)
    AcceleratorState._reset_state(True)


def start(world, output, *overrides):
    return training.Run(load_recipe(world / "recipe.yaml", [f"data.root={world}", f"output={output}", *overrides]))


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """The output folder of a run that nothing interrupted, and the run."""
    with pytest.MonkeyPatch.context() as patch:
        config = tiny_model.config()
        processor = InstructSegProcessor.for_config(config, tiny_model.tokenizer())
        patch.setattr(training, "build_model", lambda recipe: (InstructSegModel(config), processor))
        run = start(world, tmp_path_factory.mktemp("finished"))
        run.train()
        return run


def test_the_split_of_the_painted_world():
    assert not any(is_validation(f"coco/{seed}") for seed in TRAINED_ON)
    assert all(is_validation(f"coco/{seed}") for seed in HELD_OUT)


def test_it_learns_two_photos_by_heart(world, tmp_path):
    run = start(world, tmp_path, "steps=60", "learning_rate=5e-3", "validate_every=1000", "lora.dropout=0")
    run.train()
    totals = [line["losses"]["total"] for line in read_log(tmp_path / "log.jsonl") if "losses" in line]
    assert len(totals) == 6 and totals[-1] < 0.75 * totals[0], totals
    assert all(line["losses"]["gradient_norm"] > 0 for line in read_log(tmp_path / "log.jsonl") if "losses" in line)


def test_frozen_weights_stay_and_trained_ones_move(world, finished):
    torch.manual_seed(3)
    fresh = InstructSegModel(tiny_model.config()).state_dict()
    saved = weights_of(finished.output)
    for name, value in saved.items():
        frozen = name in finished.groups["frozen encoder"] or name == "lm_head.weight" or "embed_tokens" in name
        assert not frozen or torch.equal(value, fresh[name]), name
    moved = {name for name, value in saved.items() if not torch.equal(value, fresh[name])}
    assert {name for name in finished.groups["trained"]} <= moved
    assert {f"language_model.layers.{layer}.self_attn.{part}_proj.weight" for layer in (0, 1) for part in "qv"} <= moved


@pytest.mark.parametrize("saved_at, killed_at", [(7, 7), (5, 11)])
def test_interrupted_and_resumed_is_as_never_interrupted(saved_at, killed_at, world, finished, tmp_path, monkeypatch):
    """Killed after the log has gone on: lines after the checkpoint are told again, once."""
    step_of = training.Run.one_step

    def step(self, batch):
        if self.step == saved_at:
            self._save()
        if self.step == killed_at:
            raise KeyboardInterrupt
        return step_of(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(training.Run, "one_step", step)
        with pytest.raises(KeyboardInterrupt):
            start(world, tmp_path).train()
    torch.rand(5)  # what happens in between must not matter
    np.random.rand(5)
    resumed = start(world, tmp_path)
    assert resumed.step == saved_at
    resumed.train()
    expected, found = weights_of(finished.output), weights_of(tmp_path)
    assert found.keys() == expected.keys()
    assert not [name for name, value in found.items() if not torch.equal(value, expected[name])]
    told, once = (
        [(line["step"], "losses" in line) for line in read_log(folder / "log.jsonl")]
        for folder in (tmp_path, finished.output)
    )
    assert told == once == [(10, True), (10, False), (12, False)]
    first, again = (
        [{key: line[key] for key in ("instructions", "validation") if key in line} for line in read_log(path)]
        for path in (tmp_path / "log.jsonl", finished.output / "log.jsonl")
    )
    assert first == again


def test_killed_while_validating_it_validates_again(world, finished, tmp_path, monkeypatch):
    """No checkpoint may be later than what the log tells."""

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.Run, "_validate", killed)
        with pytest.raises(KeyboardInterrupt):
            start(world, tmp_path, "checkpoint_minutes=0").train()
    start(world, tmp_path).train()
    told, once = (
        [{key: line[key] for key in ("step", "losses", "validation") if key in line} for line in read_log(path)]
        for path in (tmp_path / "log.jsonl", finished.output / "log.jsonl")
    )
    assert told == once


def test_a_finished_run_started_again_only_writes_its_model(world, finished, tmp_path):
    before = (finished.output / "model" / "model.safetensors").read_bytes()
    log = (finished.output / "log.jsonl").read_text()
    again = start(world, finished.output)
    assert again.step == 12
    again.train()
    assert (finished.output / "model" / "model.safetensors").read_bytes() == before
    assert (finished.output / "log.jsonl").read_text() == log


def test_the_exported_model_is_the_trained_one(finished):
    segmenter = Segmenter.load(finished.output / "model")
    assert (finished.output / "curves.png").stat().st_size > 1000
    assert not [name for name in segmenter.model.state_dict() if "lora" in name or "base_layer" in name]
    inputs = tiny_model.prepare(finished.processor, ([tiny_model.photo(64, 64)], ["the dog", "the kite"]))
    finished.model.eval().to(memory_format=torch.channels_last)  # the order in which Segmenter computes on a CPU
    with torch.no_grad():
        ours, loaded = finished.model(**inputs.model_kwargs), segmenter.model(**inputs.model_kwargs)
    assert torch.equal(ours.mask_logits, loaded.mask_logits) and torch.equal(ours.score_logits, loaded.score_logits)
    direct = Segmenter(finished.model, finished.processor)
    photo = tiny_model.photo(50, 70)
    first, second = (each.segment(photo, "the dog") for each in (segmenter, direct))
    assert (first.masks == second.masks).all() and (first.scores == second.scores).all()


def test_the_exported_weights_are_the_averaged_ones(finished):
    state = torch.load(finished.output / "checkpoints" / "last.pt", weights_only=True)
    exported = weights_of(finished.output)
    averages = dict(zip(state["trained"], state["average"], strict=True))
    names = [name for name in averages if "lora" not in name]
    assert len(names) > 100 and all(torch.equal(exported[name], averages[name]) for name in names)
    assert not all(torch.equal(exported[name], state["trained"][name]) for name in names)


def test_what_a_run_writes_down(finished):
    assert load_recipe(finished.output / "recipe.yaml") == finished.recipe
    scores = [line["validation"] for line in read_log(finished.output / "log.jsonl") if "validation" in line]
    assert len(scores) == 2 and all(score["all"]["count"] > 0 for score in scores)
    assert all(0 <= score["all"]["miou"] <= score["best_of_all"]["miou"] <= 1 for score in scores)


def test_a_loss_that_is_not_a_number_stops_with_the_samples_names(world, tmp_path):
    run = start(world, tmp_path)
    with torch.no_grad():
        run.model.mask_tokens.fill_(float("nan"))
    with pytest.raises(InputError, match=r"a finite loss, got nan at step 0 on the samples coco/\d#0\.0, coco/\d#0\.1"):
        run.train()
    assert not (tmp_path / "model").exists()


def test_validation_leaves_the_run_as_it_was(world, tmp_path):
    run = start(world, tmp_path)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    state = torch.get_rng_state()
    run.collate = training.Collator(run.processor)
    run.validation = open_validation(run.recipe.data, 0, references=2)
    run.reporter = training.Reporter(run.recipe, 0, run.accelerator)
    assert run.validation and run.model.training
    run._validate()
    assert run.model.training and torch.equal(torch.get_rng_state(), state)
    assert not [name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])]


class TestStart:
    """What a run starts from: the real `build_model`."""

    @pytest.fixture
    def build(self):
        return starting.build_model

    def test_a_saved_model(self, build, finished):
        model, processor = build(Recipe(model=ModelRecipe(init=str(finished.output / "model"))))
        saved = weights_of(finished.output)
        assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
        assert processor.mask_tokens == 4

    def test_a_saved_model_with_changes(self, build, finished):
        init, saved = str(finished.output / "model"), weights_of(finished.output)
        changes = {"text_fusion_config": None, "num_reference_frames": 0}
        torch.manual_seed(5)
        start = ModelRecipe(init=init, config=changes, fresh=("perceiver", "text_fusion"))
        model, processor = build(Recipe(model=start))
        assert (model.config.num_reference_frames, model.text_fusion) == (0, None) and model.pooled_text is not None
        same = {name for name, value in model.state_dict().items() if name in saved and torch.equal(value, saved[name])}
        new = [name for name in model.state_dict() if name not in same]
        assert {name.split(".")[0] for name in new} == {"perceiver", "pooled_text"}
        assert "perceiver.latents" in new and "perceiver.layers.0.to_q.weight" in new
        processor.check_fits(model.config)

    def test_changes_that_a_saved_model_cannot_have(self, build, finished):
        init = str(finished.output / "model")
        with pytest.raises(RecipeError, match=r"do not fit model\.config"):
            build(Recipe(model=ModelRecipe(init=init, config={"num_mask_tokens": 7})))
        with pytest.raises(
            RecipeError, match=r"model\.fresh: expected some of language_model, lm_head.*, got 'perceivers'"
        ):
            build(Recipe(model=ModelRecipe(init=init, fresh=("perceivers",))))

    @pytest.mark.parametrize(
        "changes", [{"projector": "none"}, {"num_mask_tokens": "12"}, {"decoder_config": {"decoder_layers": 2.5}}]
    )
    def test_values_the_model_cannot_have(self, build, changes):
        with pytest.raises(RecipeError, match=r"model\.config is invalid: .*(projector|tokens|layers)"):
            build(Recipe(model=ModelRecipe(config=changes)))

    def test_presets_without_pretrained_parts(self, build):
        with pytest.raises(RecipeError, match=r"'paper' has no pretrained parts .*; use nano or set model\.init"):
            build(Recipe(model=ModelRecipe(preset="paper")))

    def test_changes_of_the_preset(self, build, monkeypatch):
        monkeypatch.setattr(nano_base, "build", lambda config, seed: (config, seed))
        changes = {"decoder_config": {"pixel_layers": 1}, "perceiver_config": None, "num_mask_tokens": 5}
        config, seed = build(Recipe(seed=7, model=ModelRecipe(config=changes)))
        preset = presets.nano()
        assert (config.decoder_config.pixel_layers, config.perceiver_config, config.num_mask_tokens) == (1, None, 5)
        assert config.decoder_config.decoder_layers == preset.decoder_config.decoder_layers and seed == 7
        assert config.text_config.hidden_size == preset.text_config.hidden_size
        with pytest.raises(RecipeError, match=r"pixel_layer is not a field of .*; did you mean pixel_layers"):
            build(Recipe(model=ModelRecipe(config={"decoder_config": {"pixel_layer": 1}})))


class TestReport:
    def test_log_drops_what_comes_after_the_resumed_step(self, tmp_path):
        path = tmp_path / "new" / "log.jsonl"
        log = RunLog(path, 0)
        for step in (10, 20, 30):
            log.write(step=step, losses={})
        with path.open("a") as file:
            file.write('{"step": 40, "los')  # a kill while writing
        RunLog(path, 20).write(step=25)
        assert [line["step"] for line in read_log(path)] == [10, 20, 25]

    def test_window_means(self):
        window = StepWindow()
        window.add({"a": 1.0, "b": 4.0}, 3)
        window.add({"a": 2.0}, 5)
        assert window.means() == {"a": 1.5, "b": 4.0} and window.instructions == 8 and window.rate > 0
        window.clear()
        assert window.means() == {} and window.instructions == 0
