"""The choice stage: stored states give the losses of the whole model, and only what reads them is trained."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_model
import tiny_seeds
import torch
from accelerate.state import AcceleratorState
from painted_world import RECIPE, paint
from safetensors.torch import save_file

from instructseg.errors import CheckpointError
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.training import run as training
from instructseg.training.choice_objective import ChoiceObjective
from instructseg.training.data.collate import Collator
from instructseg.training.logging.run_log import read_log
from instructseg.training.objective import Objective, use_loss
from instructseg.training.parameters import freeze_all_but_choice
from instructseg.training.recipe import LossRecipe, load_recipe
from instructseg.training.states import StateFolder, StoredStates, encode_states, load_states, save_states
from instructseg.types import Expression, Sample, Task


@pytest.fixture(scope="module")
def model() -> InstructSegModel:
    model = tiny_seeds.build()
    use_loss(model, LossRecipe(num_points=64, score_target="choice"))
    return model


@pytest.fixture(scope="module")
def collate(model) -> Collator:
    return Collator(InstructSegProcessor.for_config(model.config, tiny_model.tokenizer()), instances=True)


def sample(number: int = 0) -> Sample:
    image = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    left, right = np.zeros((2, 64, 64), bool)
    left[10:50, 4:28], right[10:50, 36:60] = True, True
    expressions = (
        Expression("the dog on left", left, instances=(left,)),
        Expression("all the dog", left | right, instances=(left, right)),
        Expression("the cup", None),
    )
    return Sample(f"painted {number}", Task.RES, (image,), expressions)


def test_stored_states_give_the_loss_of_the_whole_model(model, collate, tmp_path):
    batch = collate([sample()])
    save_states(tmp_path / "a.safetensors", encode_states(model, batch), batch.targets)
    stored = load_states(tmp_path / "a.safetensors")
    assert stored.normalizers == batch.normalizers
    with torch.no_grad():
        expected, parts = Objective(model)(batch.inputs, batch.targets, batch.normalizers, 5)
        loss, terms = ChoiceObjective(model, False)(stored.inputs, stored.targets, stored.normalizers, 5)
    assert terms.keys() == parts.keys()
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=2e-2)  # states are float16


def test_seeds_alone_train_what_reads_the_states(model, collate, tmp_path):
    groups = freeze_all_but_choice(model)
    stored = ("mask_tokens", "seed_proposer.head", "vision_tokens")
    assert not any(name.startswith(stored) for name in groups["trained"])
    batch = collate([sample()])
    states, targets = encode_states(model, batch), replace(batch.targets, masks=batch.targets.masks.float())
    seeds = states.visual.seeds
    seeds.boxes.valid[:] = True
    seeds.mask_logits[0, :, :, :] = -9.0
    seeds.mask_logits[0, 0, 2:13, 1:7] = seeds.mask_logits[0, 1, 2:13, 9:15] = 9.0  # the two objects
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    objective = ChoiceObjective(model, True)
    losses = []
    for _ in range(12):
        loss, terms = objective(states, targets, batch.normalizers, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert set(terms) == {"score", "plural"}
    assert losses[-1] < 0.5 * losses[0], losses


def test_a_folder_of_states_is_completed_and_read_in_every_pass(model, collate, tmp_path):
    class Numbers:
        asked: list[int] = []

        def sample(self, index: int, offset: int) -> Sample:
            self.asked.append(index)
            return sample(index)

    folder, numbers, done = StateFolder(tmp_path / "states", 3), Numbers(), []
    folder.fill(folder.missing(), model, numbers, collate, done.append)
    assert numbers.asked == [0, 1, 2] and done == [0, 1, 2, 3] and not folder.missing()
    folder.path(1).unlink()
    folder.fill(folder.missing(), model, numbers, collate, done.append)
    assert numbers.asked == [0, 1, 2, 1]
    stored = StoredStates(folder, batch=3, seed=0)
    assert {stored.sample(0, offset) for offset in range(3)} == {folder.path(index) for index in range(3)}
    assert stored.collate([folder.path(2)]).names == ("000002",)


def test_a_run_writes_states_once_and_trains_on_them(model, collate, tmp_path, monkeypatch):
    paint(tmp_path)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    AcceleratorState._reset_state(True)
    monkeypatch.setattr(training, "build_model", lambda recipe: (model, collate.processor))
    settings = [
        f"data.root={tmp_path}", f"output={tmp_path / 'run'}", "objective=choice", "states.samples=2", "steps=10",
        "batch_photos=1", "accumulate=1", "data.workers=0", "loss.score_target=choice", "states.seeds_only=false",
    ]  # fmt: skip
    run = training.Run(load_recipe(tmp_path / "recipe.yaml", settings))
    run.train()
    states = sorted((tmp_path / "run/states").iterdir())
    assert [file.name for file in states] == ["000000.safetensors", "000001.safetensors"]
    figures = [line for line in read_log(tmp_path / "run/log.jsonl") if "losses" in line]
    assert {"mask", "dice", "score", "plural"} <= figures[-1]["losses"].keys()
    assert (tmp_path / "run/model/config.json").exists()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "000000.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"000000\.safetensors cannot be read"):
        load_states(tmp_path / "000000.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "000001.safetensors")
    with pytest.raises(CheckpointError, match=r"000001\.safetensors"):
        load_states(tmp_path / "000001.safetensors")
