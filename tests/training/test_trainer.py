"""transformers' Trainer with this package's collator: two steps that change what is trainable and nothing else."""

import numpy as np
import pytest
import tiny_model
import torch
from transformers import Trainer, TrainingArguments

from instructseg.errors import InputError
from instructseg.training.data.collate import Collator
from instructseg.training.parameters import choose_trainable
from instructseg.types import Expression, Sample, Task


def samples(task=Task.RES):
    for number in range(4):
        photo = tiny_model.photo(seed=number)
        mask = np.zeros(photo.shape[:2], bool)
        mask[5:20, 8:30] = True
        yield Sample(f"own/{number}", task, (photo,), (Expression("the dog", mask, id="0", answer="a cup"),))


def test_two_steps(tmp_path):
    model, processor = tiny_model.build()
    groups = choose_trainable(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, learning_rate=1e-2, report_to=[],
        use_cpu=True, logging_steps=1, save_strategy="no", disable_tqdm=True, label_names=["targets"],
    )  # fmt: skip
    trainer = Trainer(
        model=model, args=arguments, train_dataset=list(samples()), eval_dataset=list(samples()),
        data_collator=Collator(processor, as_kwargs=True), processing_class=processor,
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert trainer.state.global_step == len(losses) == 2 and all(np.isfinite(losses)) and losses[0] > 0
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed and changed <= set(groups["trained"])
    trainer.args.prediction_loss_only = True
    assert np.isfinite(trainer.evaluate()["eval_loss"])


def test_conversations_need_this_packages_training():
    _, processor = tiny_model.build()
    with pytest.raises(InputError, match="photos or clips with as_kwargs=True, got conversations"):
        Collator(processor, as_kwargs=True)(list(samples(Task.CHAT)))
