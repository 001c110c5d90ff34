"""The text loss of segmentation samples (L_t of Eq. 4): which replies are labelled, and what learns from them."""

import numpy as np
import pytest
import tiny_model
import torch

from instructseg.model.layout import IGNORE
from instructseg.model.losses import LossNormalizers
from instructseg.training.data.collate import Collator
from instructseg.training.objective import Objective
from instructseg.training.parameters import add_lora, choose_trainable
from instructseg.training.recipe import LoraRecipe
from instructseg.types import Expression, Sample, Task

EXPLANATION = "the dog can fly"


@pytest.fixture(scope="module")
def made():
    model, processor = tiny_model.build()
    add_lora(model, LoraRecipe(rank=2))
    choose_trainable(model)
    return model, processor


def sample(task: Task, number: int = 0, answer: str | None = None) -> Sample:
    photo = tiny_model.photo(seed=number)
    mask = np.zeros(photo.shape[:2], bool)
    mask[5:20, 8:30] = True
    expressions = (Expression("what can bite ?", mask, id="0", answer=answer), Expression("the dog", mask, id="1"))
    return Sample(f"own/{number}", task, (photo,), expressions)


def labelled_text(processor, batch, row=0):
    labels = batch.inputs.layout.labels[row]
    return processor.tokenizer.decode(labels[labels != IGNORE])


@pytest.mark.parametrize(
    "text_loss, tasks", [("none", []), ("reason_seg", [Task.REASON_SEG]), ("all", [Task.REASON_SEG, Task.RES])]
)
def test_which_tasks_have_labels(made, text_loss, tasks):
    _, processor = made
    collate = Collator(processor, text_loss=text_loss)
    for task in (Task.REASON_SEG, Task.RES):
        batch = collate([sample(task)])
        assert bool((batch.inputs.layout.labels != IGNORE).any()) == (task in tasks)
        assert (batch.normalizers.labelled_tokens > 0) == (task in tasks)


def test_an_explanation_precedes_seg(made):
    _, processor = made
    each = [sample(Task.REASON_SEG, 0, EXPLANATION)]
    explained = Collator(processor, text_loss="all", explanation_probability=1.0)(each)
    bare = Collator(processor, text_loss="all", explanation_probability=0.0)(each)
    assert EXPLANATION in labelled_text(processor, explained) and EXPLANATION not in labelled_text(processor, bare)
    seg = processor.prompts.seg_id
    for batch in (explained, bare):  # one [SEG] per instruction
        assert int((batch.inputs.layout.labels == seg).sum()) == 2


def test_half_of_the_samples_explain_and_always_the_same(made):
    _, processor = made
    collate = Collator(processor, text_loss="all")
    replies = [
        collate._reply(each, each.expressions[0])
        for each in (sample(Task.REASON_SEG, number, EXPLANATION) for number in range(200))
    ]
    assert 70 < replies.count(EXPLANATION) < 130 and set(replies) == {"", EXPLANATION}
    first = sample(Task.REASON_SEG, 3, EXPLANATION)
    assert collate._reply(first, first.expressions[0]) == replies[3]


def test_the_loss_has_a_text_term_that_is_the_cross_entropy_of_the_labels(made):
    model, processor = made
    batch = Collator(processor, text_loss="all", explanation_probability=1.0)([sample(Task.REASON_SEG, 0, EXPLANATION)])
    objective = Objective(model.eval())
    _, parts = objective(batch.inputs, batch.targets, batch.normalizers, 0)
    inputs = batch.inputs
    with torch.no_grad():
        visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values, 1)
        states = model.reason(inputs.layout, visual, model.perceive(visual, inputs.layout, inputs.reference_index))
        labels = inputs.layout.labels[0]
        logits = model.lm_head(states.hidden_states[0]).log_softmax(-1)
        terms = [-logits[place - 1, label] for place, label in enumerate(labels.tolist()) if label != IGNORE]
    torch.testing.assert_close(parts["text"], torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)
    assert {"mask", "dice", "score"} < parts.keys()


def test_micro_batches_add_up(made):
    model, processor = made
    collate = Collator(processor, text_loss="all", explanation_probability=1.0)
    samples = [sample(Task.REASON_SEG, number, EXPLANATION if number else None) for number in range(2)]
    whole, parts = collate(samples), [collate([each]) for each in samples]
    counts = LossNormalizers(*sum(torch.stack(part.normalizers) for part in parts))
    objective = Objective(model.eval())
    once = objective(whole.inputs, whole.targets, whole.normalizers, 0)[1]["text"]
    added = sum(objective(part.inputs, part.targets, counts, 0)[1]["text"] for part in parts)
    torch.testing.assert_close(added, once, rtol=1e-4, atol=1e-5)


def test_the_text_term_reaches_the_adapters(made):
    model, processor = made
    batch = Collator(processor, text_loss="all")([sample(Task.REASON_SEG)])
    model.train().zero_grad()
    inputs = batch.inputs
    visual = model.encode_image(inputs.pixel_values, inputs.clip_pixel_values, 1)
    output = model.forward_from_features(
        visual, inputs.layout, inputs.reference_index, batch.targets, torch.Generator().manual_seed(0)
    )
    output.parts["text"].backward()
    reached = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}
    assert any("lora_B" in name for name in reached) and not any(name.startswith("mask_decoder") for name in reached)
