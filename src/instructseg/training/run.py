"""The training loop: read it as the list of what happens in one step.

composer -> collate (processor) -> model with targets -> weighted losses -> AdamW, one cosine schedule.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from huggingface_hub.errors import StrictDataclassError
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from instructseg.data.compose import Composer, validation_set
from instructseg.errors import InputError, RecipeError
from instructseg.model import configuration
from instructseg.model.configuration import InstructSegConfig
from instructseg.model.losses import Criterion
from instructseg.model.modeling import InstructSegModel
from instructseg.model.processing import InstructSegProcessor
from instructseg.training import checkpoint
from instructseg.training.data import Collator, TrainingBatches, compose_config, open_photos
from instructseg.training.parameters import MovingAverage, add_lora, choose_trainable, merge_lora
from instructseg.training.recipe import Recipe, load_recipe
from instructseg.training.report import RunLog, Window, plot, progress_bar
from instructseg.training.validation import validate

LOG_EVERY = 10
console = Console(stderr=True)


def train_from_recipe(path: Path, overrides: Sequence[str] = ()) -> Path:
    """Train what the recipe says, going on from its last checkpoint if there is one; returns the model's folder."""
    return Run(load_recipe(path, overrides)).train()


def build_model(recipe: Recipe) -> tuple[InstructSegModel, InstructSegProcessor]:
    """The model to start from: a saved one, or a preset on pretrained parts."""
    if recipe.model.init:
        model = InstructSegModel.from_pretrained(recipe.model.init)
        return model, InstructSegProcessor.from_pretrained(recipe.model.init)
    if recipe.model.preset != "nano":
        raise RecipeError(f"model.preset {recipe.model.preset!r} has no pretrained parts here; use nano or model.init")
    from instructseg.conversion.nano_base import build

    config = configuration.nano().to_dict()
    _merge(config, recipe.model.config)
    try:
        chosen = InstructSegConfig.from_dict(config)
    except (StrictDataclassError, ValueError) as error:
        raise RecipeError(f"model.config does not fit the model: {' '.join(str(error).split())}") from error
    return build(chosen, recipe.seed)


def _merge(tree: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if key not in tree:
            raise RecipeError(f"model.config.{key} is not a field of the model's configuration")
        if isinstance(value, dict) and isinstance(tree[key], dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


class Run:
    """One training run in its output folder; constructing it restores the last checkpoint."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.output = Path(recipe.output)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.accelerator = Accelerator(mixed_precision=recipe.mixed_precision, cpu=not torch.cuda.is_available())
        self.model, self.processor = build_model(recipe)
        add_lora(self.model, recipe.lora)
        self.groups = choose_trainable(self.model)
        loss = recipe.loss
        self.model.criterion = Criterion(
            loss.weights, loss.num_points, loss.oversample, loss.importance, score_target=loss.score_target
        )
        self.model.to(self.accelerator.device).train()
        self.model.backbone.to(memory_format=torch.channels_last)
        self.trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=True
        )
        self.average = MovingAverage(self.trained, recipe.ema_decay) if recipe.ema_decay else None
        self.step, self.instructions, self.seconds = 0, 0, 0.0
        self._resume()

    def train(self) -> Path:
        self._print_groups()
        self.collate = Collator(self.processor, mask_stride=self.recipe.loss.mask_stride)
        held_out = open_photos(self.recipe.data, validation=True)
        self.validation = validation_set(held_out, compose_config(self.recipe.data), seed=0)
        if self.recipe.validation_photos:
            every = max(1, len(self.validation) // self.recipe.validation_photos)
            self.validation = self.validation[::every]
        self.log = RunLog(self.output / "log.jsonl", self.step)
        (self.output / "recipe.yaml").write_text(self.recipe.as_yaml())
        if self.step < self.recipe.steps:
            self._loop(self._loader())
        return self._export()

    def _loader(self) -> DataLoader:
        data = self.recipe.data
        photos = open_photos(data, validation=False)
        composer = Composer(photos, compose_config(data), seed=self.recipe.seed)
        batches = TrainingBatches(composer, self.collate, self.recipe.batch_photos, self.step, self.recipe.steps)
        return DataLoader(
            batches, batch_size=None, shuffle=False, num_workers=data.workers,
            prefetch_factor=4 if data.workers else None, worker_init_fn=_one_thread,
            generator=torch.Generator(),  # it draws one number when it starts: not one of the model's, for resuming
        )  # fmt: skip

    def _loop(self, loader: DataLoader) -> None:
        window, saved = Window(), time.monotonic()
        with progress_bar() as progress:
            bar = progress.add_task("training", total=self.recipe.steps, completed=self.step, status="")
            for batch in loader:
                start = time.perf_counter()
                parts = self._one_step(batch)
                self.seconds += time.perf_counter() - start
                asked = int(batch.inputs.layout.asked.sum())
                self.step, self.instructions = self.step + 1, self.instructions + asked
                window.add(parts, asked)
                if self.step % LOG_EVERY == 0:
                    self._log_window(window)
                    progress.update(bar, completed=self.step, status=_status(window))
                    window.clear()
                if time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
                if self.step % self.recipe.validate_every == 0 or self.step == self.recipe.steps:
                    self._validate()
                    window.clear()
        self._save()

    def _one_step(self, batch: Any) -> dict[str, float]:
        rate = learning_rate(self.step, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = self.accelerator.device
        inputs = batch.inputs.to(device)
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        with self.accelerator.autocast():
            output = self.model(**inputs.model_kwargs, targets=batch.targets.to(device), generator=generator)
        if not torch.isfinite(output.loss):
            names = ", ".join(sample.id for sample in batch.samples)
            raise InputError(f"the loss is {output.loss.item()} at step {self.step} on samples {names}")
        self.accelerator.backward(output.loss)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.step)
        values = {name: value.item() for name, value in output.parts.items()}
        return values | {"total": output.loss.item(), "gradient_norm": norm.item()}

    def _log_window(self, window: Window) -> None:
        self.log.write(
            step=self.step, losses=window.means(), learning_rate=learning_rate(self.step, self.recipe),
            instructions=self.instructions, instructions_per_second=round(window.rate, 2),
        )  # fmt: skip

    def _validate(self) -> None:
        if self.average:
            self.average.swap()
        bf16 = self.recipe.mixed_precision == "bf16"
        scores = validate(self.model, self.collate, self.validation, self.recipe.batch_photos, bf16)
        if self.average:
            self.average.swap()
        self.log.write(step=self.step, instructions=self.instructions, validation=scores)
        plot(self.log.path, self.output / "curves.png")
        kinds = {kind: round(values["miou"], 3) for kind, values in scores.items() if "miou" in values}
        console.print(f"step {self.step}: validation mIoU {json.dumps(kinds)}")

    def _save(self) -> None:
        checkpoint.save(
            self.output / "checkpoints",
            {
                "step": self.step, "instructions": self.instructions, "seconds": self.seconds,
                "trained": {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad},
                "average": self.average.shadow if self.average else [],
                "optimizer": self.optimizer.state_dict(),
            },
        )  # fmt: skip

    def _resume(self) -> None:
        state = checkpoint.load(self.output / "checkpoints")
        if state is None:
            return
        self.model.load_state_dict(state["trained"], strict=False)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            for shadow, saved in zip(self.average.shadow, state["average"], strict=True):
                shadow.copy_(saved)
        self.step, self.instructions, self.seconds = state["step"], state["instructions"], state["seconds"]
        console.print(f"resuming {self.output} at step {self.step}")

    def _export(self) -> Path:
        """Save the averaged model with its adapters merged, ready for `Segmenter.load`."""
        if self.average:
            self.average.swap()
        merge_lora(self.model)
        directory = self.output / "model"
        self.model.save_pretrained(directory)
        self.processor.save_pretrained(directory)
        console.print(f"model saved in {directory}")
        return directory

    def _print_groups(self) -> None:
        table = Table("parameters", "tensors", "values")
        sizes = {name: parameter.numel() for name, parameter in self.model.named_parameters()}
        for group, names in self.groups.items():
            table.add_row(group, str(len(names)), f"{sum(sizes[name] for name in names):,}")
        console.print(table)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then cosine decay to zero (supplement A)."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def _status(window: Window) -> str:
    means = window.means()
    return f"loss {means.get('total', 0):.2f}  {window.rate:.1f} instructions/s"


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
