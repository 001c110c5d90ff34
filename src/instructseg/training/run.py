"""The training loop: read it as the list of what happens in one step.

mixture -> collate (processor) -> model with targets -> weighted losses -> AdamW, one cosine schedule.

By `accelerate launch` the same loop runs in several processes: each computes its share of every batch, gradients are
averaged between them, and the first one writes logs, checkpoints and pictures.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list

from instructseg.training import checkpoint
from instructseg.training.adapters import save_adapters
from instructseg.training.data.batches import Share, TrainingBatches, open_loader
from instructseg.training.data.collate import Batch, Collator
from instructseg.training.data.held_out import open_validation
from instructseg.training.data.mixture import open_mixture
from instructseg.training.distributed.holding import hold
from instructseg.training.distributed.processes import open_accelerator
from instructseg.training.logging.report import progress_bar, status
from instructseg.training.logging.reports import Reports, Scores, console, print_groups
from instructseg.training.objective import Objective, use_loss
from instructseg.training.parameters import MovingAverage, add_lora, choose_trainable, merge_lora
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.schedule import learning_rate
from instructseg.training.start import build_model
from instructseg.training.state import Progress, capture, changed_keys, restore
from instructseg.training.update import Update
from instructseg.training.validation import Show, validate

LOG_EVERY = 10


def train_from_recipe(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Train what the recipe says, going on from its last checkpoint if there is one; returns the model's folder."""
    return Run(load_recipe(path, overrides)).train()


class Run:
    """One training run in its output folder; constructing it restores the last checkpoint."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.output = Path(recipe.output)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.accelerator = open_accelerator(recipe)
        self.main = self.accelerator.is_main_process
        self.share = Share(
            recipe.batch_photos, self.accelerator.process_index, self.accelerator.num_processes, recipe.accumulate
        )
        self.model, self.processor = build_model(recipe)
        add_lora(self.model, recipe.lora)
        self.groups = choose_trainable(self.model, recipe.model.train)
        use_loss(self.model, recipe.loss)
        if recipe.gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.model.to(self.accelerator.device).train()
        if not self.accelerator.is_fsdp2:  # which takes parameters in their plain order only
            self.model.backbone.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(
            self._trained().values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=True
        )
        self.objective, self.optimizer = self.accelerator.prepare(Objective(self.model), optimizer)
        self.trained = self._trained()  # anew: where weights are divided among processes these are other parameters
        self.average = MovingAverage(list(self.trained.values()), recipe.ema_decay) if recipe.ema_decay else None
        self.update = Update(recipe, self.accelerator, self.objective, self.optimizer, self.trained, self.average)
        self.held = hold(
            self.accelerator, self.objective, self.optimizer, self.trained, self.average, self.output / "checkpoints"
        )
        self.progress = Progress()
        self._resume()

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    @property
    def step(self) -> int:
        return self.progress.step

    def train(self) -> Path:
        if self.main:
            print_groups(self.model, self.groups)
        data, references = self.recipe.data, self.model.config.num_reference_frames
        head = self.model.perceiver and self.model.perceiver.localization_head
        self.collate = Collator(
            self.processor, mask_stride=self.recipe.loss.mask_stride, max_tokens=data.max_tokens,
            locate=head.CELLS if head is not None else 0,
        )  # fmt: skip
        if self.step < self.recipe.steps:
            batch, steps, seed = self.recipe.batch_photos, self.recipe.steps, self.recipe.seed
            mixture = open_mixture(data, references, batch, steps, seed)
            takes_part = self.main or self.held.together
            self.validation = open_validation(data, self.recipe.validation_photos, references) if takes_part else []
            self.reports = Reports(self.recipe, self.step) if self.main else None
            batches = TrainingBatches(mixture, self.collate, self.share, self.step, steps)
            self._loop(open_loader(batches, data.workers))
        return self._export()

    def _loop(self, loader: Any) -> None:
        window, saved, batches = self.progress.window, time.monotonic(), iter(loader)
        with progress_bar(self.main) as bar:
            line = bar.add_task("training", total=self.recipe.steps, completed=self.step, status="")
            while self.step < self.recipe.steps:
                start = time.perf_counter()
                pieces = next(batches)
                waited = time.perf_counter() - start
                parts, asked = self._one_step(pieces)
                self.progress.seconds += time.perf_counter() - start - waited
                self.progress.step, self.progress.instructions = self.step + 1, self.progress.instructions + asked
                window.add(parts, asked, self.recipe.batch_photos, waited)
                bar.update(line, completed=self.step)
                if self.step % LOG_EVERY == 0:
                    bar.update(line, status=self._log_window())
                    window.clear()
                start = time.perf_counter()
                if self.step % self.recipe.validate_every == 0 or self.step == self.recipe.steps:
                    self._validate()
                if self.step == self.recipe.steps or self._agreed(
                    time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes
                ):
                    self._save()
                    saved = time.monotonic()
                window.pause(time.perf_counter() - start)
        if self.reports:
            self.reports.close()

    def _one_step(self, pieces: Sequence[Batch]) -> tuple[dict[str, float], int]:
        return self.update(self.step, pieces)

    def _log_window(self) -> str:
        """Log the last steps; returns a line for the progress bar."""
        means, speed = self.progress.window.means(), self.progress.window.speed()
        if self.reports:
            rate = learning_rate(self.step, self.recipe)
            figures = {"losses": means, "learning_rate": rate, "instructions": self.progress.instructions, **speed}
            self.reports.figures(self.step, figures)
        return status(means, speed)

    def _validate(self) -> None:
        if not self.validation:
            return
        if self.average:
            self.average.swap()
        bf16 = self.recipe.mixed_precision == "bf16"
        asked, size = self.held.answering(), self.share.size

        def score(show: Show) -> Scores:
            return validate(asked, self.collate, self.validation, size, bf16, show)

        if self.reports:
            self.reports.validation(self.step, self.progress.instructions, self.validation, score)
        else:
            score(lambda sample, place, answer: None)
        if self.average:
            self.average.swap()

    def _save(self) -> None:
        if self.main or self.held.together:
            held = self.held.gather()
            if self.main:
                checkpoint.save(self.output / "checkpoints", capture(self.recipe, self.progress, self.average) | held)

    def _agreed(self, due: bool) -> bool:
        """Whether the first process says so, where all must act together."""
        return broadcast_object_list([due])[0] if self.held.together else due

    def _resume(self) -> None:
        state = checkpoint.load(self.output / "checkpoints")
        if state is None:
            return
        restore(state, self.progress, self.trained, self.average)
        self.held.put(state)
        changed = changed_keys(state["recipe"], self.recipe) if "recipe" in state else []
        if self.main:
            note = f"; changed since then: {', '.join(changed)}" if changed else ""
            console.print(f"resuming {self.output} at step {self.step}{note}")

    def _export(self) -> Path:
        """Save the averaged model with its adapters merged, ready for `Segmenter.load`.

        Of a run that went on from a saved model also what it adds to that one, for `instructseg merge`.
        """
        directory = self.output / "model"
        if self.average:
            self.average.swap()
        model = self.held.export(self.recipe.lora)
        if self.main:
            if self.recipe.model.init:
                save_adapters(model, self.output / "adapters", self.recipe.model.init, self.groups["trained"])
            merge_lora(model)
            model.save_pretrained(directory)
            self.processor.save_pretrained(directory)
            console.print(f"model saved in {directory}")
        self.accelerator.wait_for_everyone()
        return directory
