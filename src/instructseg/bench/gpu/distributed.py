"""Two training steps under DDP, FSDP2 and DeepSpeed, with one process: that each of them starts, trains and saves."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from instructseg.bench.gpu.inference import load
from instructseg.bench.gpu.part import PartResult, Settings
from instructseg.bench.train import SMALL
from instructseg.bench.training_photos import write_photos
from instructseg.training.logging.run_log import read_log

RECIPES = Path(__file__).parents[2] / "recipes" / "accelerate"
STEPS = 10
"""The log has a line every ten steps."""


def ddp(settings: Settings, result: PartResult) -> None:
    launch("ddp", settings, result)


def fsdp2(settings: Settings, result: PartResult) -> None:
    launch("fsdp2", settings, result)


def deepspeed(settings: Settings, result: PartResult) -> None:
    if importlib.util.find_spec("deepspeed") is None:
        result.update({"not run": "deepspeed is not installed: pip install deepspeed"})
        return
    launch("deepspeed", settings, result)


def launch(kind: str, settings: Settings, result: PartResult) -> None:
    """`accelerate launch` with the packaged configuration; raises RuntimeError with the last words of a failure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        words = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(configuration(kind, folder)),
                 "-m", "instructseg", "train", "finetune", *overrides(folder, settings)]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "Error" in line or "error:" in line]
            raise RuntimeError(" | ".join(lines[-3:])[:400] or f"exit status {done.returncode}")
        lines = read_log(folder / "run" / "log.jsonl")
        result.update({"seconds": time.perf_counter() - start, "steps": STEPS, "log": lines[-1] if lines else {},
                       "saved": (folder / "run" / "model" / "config.json").is_file()})  # fmt: skip


def configuration(kind: str, folder: Path) -> Path:
    """The packaged file for one process on one machine."""
    content = yaml.safe_load((RECIPES / f"{kind}.yaml").read_text(encoding="utf-8"))
    content |= {"num_processes": 1, "mixed_precision": "no", "main_process_port": 0}
    if kind == "fsdp2":
        layers = "LlamaDecoderLayer"
        content["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"] = layers
    target = folder / f"{kind}.yaml"
    target.write_text(yaml.safe_dump(content), encoding="utf-8")
    return target


def overrides(folder: Path, settings: Settings) -> list[str]:
    """A short training of the whole decoder, on composed photos."""
    initial = settings.model
    if settings.scale == "tiny":
        segmenter = load(settings)
        segmenter.model.save_pretrained(folder / "initial")
        segmenter.processor.save_pretrained(folder / "initial")
        initial = str(folder / "initial")
    small = SMALL if settings.scale == "tiny" else ()
    return [
        f"data={write_photos(folder / 'photos')}", f"model.init={initial}", f"output={folder / 'run'}",
        f"steps={STEPS}", "warmup_steps=1", "validate_every=100000", "validation_photos=1", "ema_decay=0",
        "data.validation_percent=0", "data.workers=0", "mixed_precision=no", *small,
    ]  # fmt: skip
