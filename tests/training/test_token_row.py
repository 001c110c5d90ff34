"""Training of the word embeddings: none, the rows of [SEG] alone, or all rows with the output head."""

import painted_world
import pytest
import tiny_model
import torch

from instructseg.model.losses import Criterion
from instructseg.model.modeling import InstructSegModel
from instructseg.training.adapters import load_adapters, save_adapters
from instructseg.training.data.collate import Collator
from instructseg.training.objective import Objective
from instructseg.training.parameters import add_lora, choose_trainable, merge_lora
from instructseg.training.recipe import LoraRecipe, load_recipe
from instructseg.training.run import Run
from instructseg.training.token_row import NAME, add_token_row, merge_token_row
from instructseg.types import Expression, Sample, Task

TABLES = ("language_model.embed_tokens.weight", "lm_head.weight")
KINDS = {"untied": {}, "tied": tiny_model.LIKE_NANO}


def batch(processor):
    photo = tiny_model.photo()
    mask = torch.zeros(photo.shape[:2], dtype=torch.bool).numpy()
    mask[5:20, 8:30] = True
    sample = Sample("own/0", Task.REASON_SEG, (photo,), (Expression("what can fly ?", mask, id="0"),))
    return Collator(processor, text_loss="all")([sample])


def step(model, processor, steps=1):
    """Train with weight decay, which would move every row of a table that is a parameter of the optimizer."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, made, losses = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1), batch(processor), []
    model.criterion = Criterion(num_points=50)
    for _ in range(steps):
        optimizer.zero_grad()
        loss, parts = Objective(model)(made.inputs, made.targets, made.normalizers, 0)
        loss.backward()
        optimizer.step()
        losses.append(float(parts["text"]))
    return losses


def changed_rows(model, plain, name):
    now, before = model.state_dict()[name], plain.state_dict()[name]
    return (now != before).any(1).nonzero().flatten().tolist()


def masks(model, processor):
    with torch.no_grad():
        return model.eval()(**batch(processor).inputs.model_kwargs).mask_logits


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_seg_alone_learns(changes):
    model, processor = tiny_model.build(**changes)
    plain, _ = tiny_model.build(**changes)
    before = masks(model, processor)
    add_token_row(model, processor.prompts.seg_id)
    torch.testing.assert_close(masks(model, processor), before, rtol=0, atol=0)
    groups = choose_trainable(model, ["mask_decoder"])
    assert {name for name in groups["trained"] if not name.startswith("mask_decoder.")} == {
        f"{NAME}.{kind}_{processor.prompts.seg_id}" for kind in (("input",) if changes else ("input", "output"))
    }
    losses = step(model, processor, 4)
    assert losses[-1] < losses[0]
    learnt = masks(model, processor)
    merge_token_row(model)
    torch.testing.assert_close(masks(model, processor), learnt)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert [changed_rows(model, plain, name) for name in TABLES] == 2 * [[processor.prompts.seg_id]]


def test_a_head_without_a_row_for_it():
    model, processor = tiny_model.build(lm_head_size=20)
    add_token_row(model, processor.prompts.seg_id)
    assert [name for name, _ in model.token_row.named_parameters()] == [f"input_{processor.prompts.seg_id}"]
    assert model.lm_head(torch.zeros(2, 32)).shape == (2, 20)


@pytest.mark.parametrize("changes", KINDS.values(), ids=KINDS)
def test_all_words_learn_as_released(changes):
    model, processor = tiny_model.build(**changes)
    plain, _ = tiny_model.build(**changes)
    groups = choose_trainable(model, ["mask_decoder"], all_words=True)
    tables = {name for name in groups["trained"] if not name.startswith("mask_decoder.")}
    assert tables == ({TABLES[0]} if changes else set(TABLES))
    step(model, processor)
    assert all(len(changed_rows(model, plain, name)) > 20 for name in TABLES)


def test_adapters_bring_the_row_along(tmp_path):
    model, processor = tiny_model.build()
    add_lora(model, LoraRecipe(rank=2))
    add_token_row(model, processor.prompts.seg_id)
    groups = choose_trainable(model, ["mask_decoder"])
    step(model, processor)
    save_adapters(model, tmp_path, "tiny", groups["trained"])
    other, _ = tiny_model.build()
    load_adapters(other, tmp_path)
    for each in (model, other):
        merge_lora(each)
    torch.testing.assert_close(masks(other, processor), masks(model, processor))


def test_a_run_trains_and_exports_the_row(tmp_path):
    """Its checkpoint resumes with the row; the saved model has no further parameter."""
    painted_world.paint(tmp_path)
    tiny, processor = tiny_model.build()
    tiny.save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    (tmp_path / "recipe.yaml").write_text(painted_world.RECIPE)

    def run(steps):
        changes = [f"data.root={tmp_path}", f"output={tmp_path / 'out'}", f"steps={steps}", "validation_photos=1",
                   f"model={{init: {tmp_path / 'tiny'}, word_embeddings: seg}}"]  # fmt: skip
        return Run(load_recipe(tmp_path / "recipe.yaml", changes))

    run(1).train()
    resumed = run(2)
    assert resumed.step == 1 and any(name.startswith(f"{NAME}.") for name in resumed.trained)
    exported = InstructSegModel.from_pretrained(resumed.train())
    assert changed_rows(exported, tiny, TABLES[0]) == [processor.prompts.seg_id]
