"""The training loop; `Run._loop` shows the order of operations in one step.

mixture -> collate (processor) -> model with targets -> weighted losses -> AdamW, one cosine schedule.

With `accelerate launch` the same loop runs in several processes: each computes its share of every batch, gradients are
averaged over processes, and the first process writes logs, checkpoints and plots.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list

from instructseg.data.problems import Problems
from instructseg.inference.loading import silence_transformers
from instructseg.media.folders import new_folder
from instructseg.training import checkpoint
from instructseg.training.adapters import save_adapters
from instructseg.training.checkpoint_entries import Progress, capture, changed_keys, is_valid, restore
from instructseg.training.choice_objective import ChoiceObjective
from instructseg.training.data.batches import BatchShare, TrainingBatches, open_loader
from instructseg.training.data.collate import Batch, Collator
from instructseg.training.data.mixture import open_mixture
from instructseg.training.data.validation_split import open_validation
from instructseg.training.distributed.processes import open_accelerator
from instructseg.training.distributed.state_managers import make_state_manager
from instructseg.training.initial_model import build_model
from instructseg.training.logging.progress import progress_bar, status
from instructseg.training.logging.reporter import Reporter, Scores, console, print_groups, print_problems
from instructseg.training.objective import Objective, use_loss
from instructseg.training.parameters import (
    MovingAverage,
    add_lora,
    choose_trainable,
    freeze_all_but_choice,
    freeze_all_but_seed_head,
    merge_lora,
)
from instructseg.training.precision import set_weight_format
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.schedule import learning_rate
from instructseg.training.seed_objective import SeedObjective
from instructseg.training.states import StateFolder, StoredStates
from instructseg.training.token_row import add_token_row, merge_token_row
from instructseg.training.training_step import TrainingStep
from instructseg.training.validation import ShowPrediction, validate
from instructseg.types import Sample

LOG_EVERY = 10


def train_from_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Train with a recipe, given by name or path, resuming from the last checkpoint; returns the model's folder."""
    return Run(load_recipe(recipe, overrides)).train()


class Run:
    """One training run in its output folder; constructing it restores the last checkpoint."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.output = recipe, Path(recipe.output)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.accelerator = open_accelerator(recipe)
        self.main = self.accelerator.is_main_process
        self.share = BatchShare(
            recipe.batch_photos, self.accelerator.process_index, self.accelerator.num_processes, recipe.accumulate
        )
        self._prepare_model()
        self._prepare_optimizer()
        self.collate = self._collator()
        self.progress = Progress()
        self.reporter: Reporter | None = None
        self.validation: list[Sample] = []
        self._resume()

    @property
    def step(self) -> int:
        """Number of completed steps."""
        return self.progress.step

    def train(self) -> Path:
        """Train the remaining steps and export the model; returns its folder."""
        if self.main:
            print_groups(self.model, self.groups)
        if self.step < self.recipe.steps:
            self._loop(self.open_batches())
        return self._export()

    def open_batches(self) -> Iterator[Sequence[Batch]]:
        """Open data and logs; returns this process's micro-batches of each remaining step, for `one_step`."""
        batches = self._open_states() if self.recipe.objective == "choice" else self._open_data()
        if self.main:
            self.reporter = Reporter(self.recipe, self.step, self.accelerator)
        return iter(open_loader(batches, self.recipe.data.workers))

    def _loop(self, batches: Iterator[Sequence[Batch]]) -> None:
        window, saved = self.progress.window, time.monotonic()
        with progress_bar(self.main) as bar:
            line = bar.add_task("training", total=self.recipe.steps, completed=self.step, status="")
            while self.step < self.recipe.steps:
                start = time.perf_counter()
                micro_batches = next(batches)
                waited = time.perf_counter() - start
                losses, instructions = self.one_step(micro_batches)
                self.progress.seconds += time.perf_counter() - start - waited
                self.progress.step += 1
                self.progress.instructions += instructions
                window.add(losses, instructions, self.recipe.batch_photos, waited)
                bar.update(line, completed=self.step)
                if self.step % LOG_EVERY == 0:
                    bar.update(line, status=self._log_window())
                    window.clear()
                start = time.perf_counter()
                if self.step % self.recipe.validate_every == 0 or self.step == self.recipe.steps:
                    self._validate()
                if self._checkpoint_is_due(saved):
                    self._save()
                    saved = time.monotonic()
                window.exclude(time.perf_counter() - start)
        if self.reporter:
            self.reporter.close()

    def _prepare_model(self) -> None:
        recipe = self.recipe
        self.model, self.processor = build_model(recipe)
        if recipe.objective == "instructions":
            add_lora(self.model, recipe.lora)
            words = recipe.model.word_embeddings
            if words == "seg":
                add_token_row(self.model, self.processor.prompts.seg_id)
            self.groups = choose_trainable(self.model, recipe.model.train, recipe.model.freeze, words == "all")
        else:
            freeze = freeze_all_but_seed_head if recipe.objective == "seeds" else freeze_all_but_choice
            self.groups = freeze(self.model)
        set_weight_format(self.model, recipe.model.dtype, recipe.mixed_precision, self.accelerator.mixed_precision)
        use_loss(self.model, recipe.loss)
        if recipe.gradient_checkpointing:
            # transformers renamed it within version 5; the old name warns
            old = self.model.gradient_checkpointing_enable
            getattr(self.model, "activation_checkpointing_enable", old)({"use_reentrant": False})
        self.model.to(self.accelerator.device).train()  # pyright: ignore[reportArgumentType] transformers wraps `to` without its self
        if not self.accelerator.is_fsdp2:  # FSDP2 accepts only contiguous parameters
            self.model.backbone.to(memory_format=torch.channels_last)

    def _prepare_optimizer(self) -> None:
        recipe = self.recipe
        optimizer = torch.optim.AdamW(
            self._trained().values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=True
        )
        self.objective, self.optimizer = self.accelerator.prepare(self._make_objective(), optimizer)
        self.trained = self._trained()  # again: sharding replaces the parameters
        self.average = MovingAverage(list(self.trained.values()), recipe.ema_decay) if recipe.ema_decay else None
        self.training_step = TrainingStep(
            recipe, self.accelerator, self.objective, self.optimizer, self.trained, self.average
        )
        self.state_manager = make_state_manager(
            self.accelerator, self.objective, self.optimizer, self.trained, self.average, self.output / "checkpoints"
        )

    def _make_objective(self) -> torch.nn.Module:
        if self.recipe.objective == "seeds":
            return SeedObjective(self.model, self.recipe.loss.keep_seed_features)
        if self.recipe.objective == "choice":
            return ChoiceObjective(self.model, self.recipe.states.seeds_only)
        return Objective(self.model)

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {name: parameter for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def _collator(self) -> Collator:
        head = self.model.perceiver and self.model.perceiver.localization_head
        return Collator(
            self.processor, mask_stride=self.recipe.loss.mask_stride, max_tokens=self.recipe.data.max_tokens,
            location_cells=head.CELLS if head is not None else 0,
            instances=self.recipe.loss.score_target == "choice", text_loss=self.recipe.loss.text_loss,
            explanation_probability=self.recipe.loss.explanation_probability,
        )  # fmt: skip

    def _open_data(self) -> TrainingBatches:
        """The remaining batches; also sets `validation` if this process needs its samples."""
        recipe, references, problems = self.recipe, self.model.config.num_reference_frames, Problems()
        try:
            mixture = open_mixture(recipe.data, references, recipe.batch_photos, recipe.steps, recipe.seed, problems)
            scored = recipe.objective == "instructions"  # "seeds" does not train what validation scores
            if scored and (self.main or self.state_manager.collective):
                self.validation = open_validation(recipe.data, recipe.validation_photos, references, problems)
        finally:
            if self.main:
                print_problems(problems)
        return TrainingBatches(mixture, self.collate, self.share, self.step, recipe.steps)

    def _open_states(self) -> TrainingBatches:
        """The remaining batches of stored states; the first process writes the states that are missing."""
        recipe, folder = self.recipe, StateFolder(self.output / self.recipe.states.folder, self.recipe.states.samples)
        if self.main and (missing := folder.missing()):
            references = self.model.config.num_reference_frames
            mixture = open_mixture(recipe.data, references, 1, folder.count, recipe.seed)
            with progress_bar(True) as bar:
                line = bar.add_task("states", total=folder.count, status="")
                folder.fill(missing, self.model, mixture, self.collate, lambda done: bar.update(line, completed=done))
        self.accelerator.wait_for_everyone()
        stored = StoredStates(folder, recipe.batch_photos, recipe.seed)
        return TrainingBatches(stored, stored.collate, self.share, self.step, recipe.steps)

    def one_step(self, micro_batches: Sequence[Batch]) -> tuple[dict[str, float], int]:
        """Train one step; returns the weighted loss terms and the number of instructions, as `TrainingStep` does."""
        losses, instructions = self.training_step(self.step, micro_batches)
        if losses.get("text"):
            self.model.config.writes_text = True  # `chat` and `reason` warn of models that never learned it
        return losses, instructions

    def _log_window(self) -> str:
        """Log the last steps; returns a line for the progress bar."""
        means, speed = self.progress.window.means(), self.progress.window.speed()
        if self.reporter:
            rate = learning_rate(self.step, self.recipe)
            figures = {"losses": means, "learning_rate": rate, "instructions": self.progress.instructions, **speed}
            self.reporter.figures(self.step, figures)
        return status(means, speed)

    def _validate(self) -> None:
        if not self.validation:
            return
        if self.average:
            self.average.swap()
        model, size = self.state_manager.inference_model(), self.share.size
        bf16 = self.accelerator.mixed_precision == "bf16"

        def score(show: ShowPrediction) -> Scores:
            return validate(model, self.collate, self.validation, size, bf16, show)

        if self.reporter:
            self.reporter.validation(self.step, self.progress.instructions, self.validation, score)
        else:
            score(lambda sample, index, prediction: None)
        if self.average:
            self.average.swap()

    def _checkpoint_is_due(self, saved: float) -> bool:
        """Whether a checkpoint is due; if saving is collective, the first process decides for all."""
        if self.step == self.recipe.steps:
            return True
        due = time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes
        return broadcast_object_list([due])[0] if self.state_manager.collective else due

    def _save(self) -> None:
        if self.main or self.state_manager.collective:
            tensors = self.state_manager.gather()
            if self.main:
                state = capture(self.recipe, self.progress, self.average) | tensors
                checkpoint.save(self.output / "checkpoints", state)

    def _resume(self) -> None:
        state = checkpoint.load(self.output / "checkpoints", is_valid)
        if state is None:
            return
        restore(state, self.progress, self.trained, self.average)
        self.state_manager.restore(state)
        changed = changed_keys(state["recipe"], self.recipe) if "recipe" in state else []
        if self.main:
            note = f"; changed since then: {', '.join(changed)}" if changed else ""
            console.print(f"resuming {self.output} at step {self.step}{note}")

    def _export(self) -> Path:
        """Save the averaged model with its adapters merged, ready for `Segmenter.load`.

        A run that started from a saved model also saves its difference to that model, for `instructseg merge`.
        """
        directory = self.output / "model"
        if self.average:
            self.average.swap()
        model = self.state_manager.export(self.recipe.lora)
        if model is not None and self.main:
            if self.recipe.model.init and self.groups.get("lora"):
                with new_folder(self.output / "adapters", replace=True) as folder:
                    save_adapters(model, folder, self.recipe.model.init, self.groups["trained"])
            merge_lora(model)
            merge_token_row(model)
            with silence_transformers(), new_folder(directory, replace=True) as folder:
                model.save_pretrained(folder)
                self.processor.save_pretrained(folder)
            console.print(f"model saved in {directory}")
        self.accelerator.wait_for_everyone()
        return directory
