"""A tiny model overfits eight explained samples: it says each explanation back, with the mask that belongs to it."""

import numpy as np
import pytest
import tiny_model
import torch

from instructseg.inference.segmenter import Segmenter
from instructseg.training.data.collate import Collator
from instructseg.training.objective import Objective
from instructseg.types import Expression, Sample, Task

STEPS = 100
ANSWERS = [
    "the dog can fly", "a big red cup", "the clock on the left can tell time", "all of the zebra", "one small kite",
    "green and blue", "the cat is on the right", "which is big",
]  # fmt: skip


def samples():
    """Eight photos with one question; a white rectangle, at another place in each, is the answer."""
    for index, answer in enumerate(ANSWERS):
        photo = tiny_model.photo(64, 64, seed=index) // 2
        top, left = 32 * (index % 2), 16 * (index // 2)
        photo[top : top + 32, left : left + 16] = 255
        mask = (photo == 255).all(-1)
        question = f"what can the {'dog' if index < 4 else 'cat'} tell ?"
        yield Sample(f"own/{index}", Task.REASON_SEG, (photo,), (Expression(question, mask, id="0", answer=answer),))


@pytest.mark.slow
def test_eight_explained_samples_are_said_back():
    torch.manual_seed(0)
    model, processor = tiny_model.build()
    collate = Collator(processor, text_loss="all", explanation_probability=1.0, mask_stride=2)
    batch = collate(list(samples()))
    for encoder in model.encoders:
        encoder.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3)
    model.criterion.num_points = 256
    objective = Objective(model.train())
    for step in range(STEPS):
        loss, _ = objective(batch.inputs, batch.targets, batch.normalizers, step)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    model.config.writes_text = True
    segmenter = Segmenter(model.eval(), processor)
    for sample in batch.samples:
        (asked,) = sample.expressions
        answer = segmenter.reason(sample.image, asked.text, 16)
        assert answer.explanation == asked.answer and answer.wrote_seg
        union = (answer.mask | asked.mask).sum()
        assert (answer.mask & asked.mask).sum() / union > 0.5, answer.explanation
    assert np.unique([sample.expressions[0].text for sample in batch.samples]).size == 2  # the photo decides
