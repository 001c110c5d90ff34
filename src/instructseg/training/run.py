"""The training loop: read it as the list of what happens in one step.

mixture -> collate (processor) -> model with targets -> weighted losses -> AdamW, one cosine schedule.

By `accelerate launch` the same loop runs in several processes: each computes its share of every batch, gradients are
averaged between them, and the first one writes logs, checkpoints and pictures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from rich.console import Console
from rich.table import Table

from instructseg.errors import InputError
from instructseg.model.losses import Counts
from instructseg.training import checkpoint
from instructseg.training.batches import Share, TrainingBatches, open_loader
from instructseg.training.collate import Batch, Collator
from instructseg.training.held_out import open_validation
from instructseg.training.mixture import open_mixture
from instructseg.training.objective import Objective, use_loss
from instructseg.training.parameters import MovingAverage, add_lora, choose_trainable, merge_lora
from instructseg.training.plots import plot
from instructseg.training.processes import open_accelerator
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.report import RunLog, progress_bar, status
from instructseg.training.schedule import learning_rate, step_seed
from instructseg.training.sheet import Sheet
from instructseg.training.start import build_model
from instructseg.training.state import Progress, capture, changed_keys, restore
from instructseg.training.trackers import Trackers
from instructseg.training.validation import validate

LOG_EVERY = 10
console = Console(stderr=True)


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
        self.model.backbone.to(memory_format=torch.channels_last)
        named = self.model.named_parameters()
        self.trained = {name: parameter for name, parameter in named if parameter.requires_grad}
        optimizer = torch.optim.AdamW(
            self.trained.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=True
        )
        self.average = MovingAverage(list(self.trained.values()), recipe.ema_decay) if recipe.ema_decay else None
        self.objective, self.optimizer = self.accelerator.prepare(Objective(self.model), optimizer)
        self.progress = Progress()
        self._resume()

    @property
    def step(self) -> int:
        return self.progress.step

    def train(self) -> Path:
        self._print_groups()
        data, references = self.recipe.data, self.model.config.num_reference_frames
        self.collate = Collator(self.processor, mask_stride=self.recipe.loss.mask_stride, max_tokens=data.max_tokens)
        if self.step < self.recipe.steps:
            batch, steps, seed = self.recipe.batch_photos, self.recipe.steps, self.recipe.seed
            mixture = open_mixture(data, references, batch, steps, seed)
            self.open_reports(open_validation(data, self.recipe.validation_photos, references) if self.main else [])
            batches = TrainingBatches(mixture, self.collate, self.share, self.step, steps)
            self._loop(open_loader(batches, data.workers))
        return self._export()

    def open_reports(self, validation: list) -> None:
        """The log and everything else that the first process writes while the run goes on."""
        self.validation = validation
        if self.main:
            self.log = RunLog(self.output / "log.jsonl", self.step)
            (self.output / "recipe.yaml").write_text(self.recipe.as_yaml())
            tree = json.loads(json.dumps(vars(self.recipe), default=vars))
            self.trackers = Trackers(self.recipe.report, self.output, self.step, tree)

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
                if self.step % LOG_EVERY == 0:
                    bar.update(line, completed=self.step, status=self._log_window())
                    window.clear()
                start = time.perf_counter()
                if self.step % self.recipe.validate_every == 0 or self.step == self.recipe.steps:
                    self._validate()
                if time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes or self.step == self.recipe.steps:
                    self._save()
                    saved = time.monotonic()
                window.pause(time.perf_counter() - start)
        if self.main:
            self.trackers.close()

    def _one_step(self, pieces: Sequence[Batch]) -> tuple[dict[str, float], int]:
        """One update from this process's pieces of the batch; the summed loss parts and the instructions of all."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe)
        torch.manual_seed(step_seed(self.recipe.seed, self.step, self.accelerator.process_index))  # for dropout
        counts, parts = self._count(pieces), {}
        for piece in pieces:
            with self.accelerator.accumulate(self.objective):
                for name, value in self._one_piece(piece, counts).items():
                    parts[name] = parts.get(name, 0.0) + value
        norm = self.accelerator.clip_grad_norm_(list(self.trained.values()), self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average:
            self.average.update(self.step)
        # The norm is of all processes' gradient together; parts are summed over processes when they are logged.
        return parts | {"gradient_norm": norm.item() if self.main else 0.0}, int(counts.asked)

    def _one_piece(self, piece: Batch, counts: Counts) -> dict[str, float]:
        device, seed = self.accelerator.device, step_seed(self.recipe.seed, self.step)
        targets = None if piece.targets is None else piece.targets.to(device)
        loss, parts = self.objective(piece.inputs.to(device), targets, counts, seed)
        if not torch.isfinite(loss):
            names = ", ".join(sample.id for sample in piece.samples)
            raise InputError(f"the loss is {loss.item()} at step {self.step} on samples {names}")
        # Gradients are averaged over pieces and processes, and the loss of the batch is the sum of its pieces' losses.
        self.accelerator.backward(loss * (self.recipe.accumulate * self.accelerator.num_processes))
        return {name: value.item() for name, value in parts.items()} | {"total": loss.item()}

    def _count(self, pieces: Sequence[Batch]) -> Counts:
        """What there is to learn in the whole batch, this process's pieces and those of all others."""
        counts = sum(torch.stack(piece.counts).double() for piece in pieces).to(self.accelerator.device)
        return Counts(*self.accelerator.reduce(counts, "sum").float())

    def _log_window(self) -> str:
        """Log the last steps; returns a line for the progress bar."""
        window = self.progress.window
        means: dict[str, float] = {}
        for mean in gather_object([window.means()]):
            for name, value in mean.items():
                means[name] = round(means.get(name, 0.0) + value, 4)
        speed = window.speed()
        if self.main:
            rate = learning_rate(self.step, self.recipe)
            figures = {"losses": means, "learning_rate": rate, "instructions": self.progress.instructions, **speed}
            self.log.write(step=self.step, **figures)
            self.trackers.write(self.step, figures)
        return status(means, speed)

    def _validate(self) -> None:
        if not self.validation:
            return
        if self.average:
            self.average.swap()
        bf16, sheet = self.recipe.mixed_precision == "bf16", Sheet(self.validation)
        size = max(1, self.share.size)
        scores = validate(self.model, self.collate, self.validation, size, bf16, sheet.show)
        if self.average:
            self.average.swap()
        self.log.write(step=self.step, instructions=self.progress.instructions, validation=scores)
        self.trackers.write(self.step, {"validation": scores})
        plot(self.log.path, self.output / "curves.png")
        sheet.write(self.output / "sheets" / f"step_{self.step:06d}.jpg")
        kinds = {kind: round(values["miou"], 3) for kind, values in scores.items() if "miou" in values}
        console.print(f"step {self.step}: validation mIoU {json.dumps(kinds)}")

    def _save(self) -> None:
        if self.main:
            state = capture(self.recipe, self.progress, self.trained, self.optimizer, self.average)
            checkpoint.save(self.output / "checkpoints", state)

    def _resume(self) -> None:
        state = checkpoint.load(self.output / "checkpoints")
        if state is None:
            return
        restore(state, self.progress, self.trained, self.optimizer, self.average)
        changed = changed_keys(state["recipe"], self.recipe) if "recipe" in state else []
        if self.main:
            note = f"; changed since then: {', '.join(changed)}" if changed else ""
            console.print(f"resuming {self.output} at step {self.step}{note}")

    def _export(self) -> Path:
        """Save the averaged model with its adapters merged, ready for `Segmenter.load`."""
        directory = self.output / "model"
        if self.main:
            if self.average:
                self.average.swap()
            merge_lora(self.model)
            self.model.save_pretrained(directory)
            self.processor.save_pretrained(directory)
            console.print(f"model saved in {directory}")
        self.accelerator.wait_for_everyone()
        return directory

    def _print_groups(self) -> None:
        if not self.main:
            return
        table = Table("parameters", "tensors", "values")
        sizes = {name: parameter.numel() for name, parameter in self.model.named_parameters()}
        for group, names in self.groups.items():
            table.add_row(group, str(len(names)), f"{sum(sizes[name] for name in names):,}")
        console.print(table)
