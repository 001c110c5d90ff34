"""The steps of docs/3b.md at full size with random weights: seconds, and peak memory of the GPU or of the process.

    python -m benchmarks.speed.guide_3b SCRATCH [--device cuda] [--tiny]

SCRATCH needs about 40 GB of disk. Each stage runs in a process of its own. Masks and answers of random weights mean
nothing, and the stand-in tokenizer makes a token of each character, so that texts are about four times as long.
"""

import argparse
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.harness import ResultFile, make_parser, provenance, run_stage
from benchmarks.speed.full_size import convert, write
from instructseg.bench.training_photos import write_photos

MODULE = "benchmarks.speed.guide_3b"
STEPS = 3
GB = 1e9


def measure(action: Callable[[], Any], device: str) -> tuple[Any, dict[str, float]]:
    """What the action returns, its seconds, and the peak memory in GB so far: of the GPU, and of this process."""
    import torch

    start = time.perf_counter()
    outcome = action()
    figures = {}
    if device == "cuda":
        torch.cuda.synchronize()
        figures["peak_gpu_gb"] = round(torch.cuda.max_memory_allocated() / GB, 3)
    figures["seconds"] = round(time.perf_counter() - start, 2)
    figures["peak_gb"] = round(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GB, 3)
    return outcome, figures


def infer(folder: Path, dtype: str, device: str) -> dict[str, Any]:
    """Load, a photo twice (the first call includes the GPU's start), a clip of 6 frames, 32 tokens of an answer."""
    import numpy as np

    from instructseg.inference.segmenter import Segmenter

    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(6)]
    segmenter, loading = measure(lambda: Segmenter.load(folder, device=device, dtype=dtype), device)
    steps = {
        "first photo": lambda: segmenter.segment(frames[0], "the dog on the left"),
        "photo": lambda: segmenter.segment(frames[1], "the dog on the left"),
        "clip of 6 frames": lambda: segmenter.segment_video(frames, "the dog on the left"),
        "answer of 32 tokens": lambda: segmenter.chat(frames[0], "what is this?", max_new_tokens=32),
    }
    return {"load": loading} | {name: measure(step, device)[1] for name, step in steps.items()}


def fine_tune(scratch: Path, device: str, tiny: bool, *overrides: str) -> dict[str, Any]:
    """Some steps of the recipe paper_finetune on composed photos, and the export of the model."""
    from instructseg.training.recipe import load_recipe
    from instructseg.training.run import Run

    photos = write_photos(scratch / "photos")
    small = ["data.compose.size=64", "data.compose.cache_side=64", "loss.num_points=100"] if tiny else []
    recipe = load_recipe("paper_finetune", [
        f"data={photos}", f"model.init={scratch / 'converted'}", "data.workers=0",
        f"output={scratch / 'run'}", f"steps={STEPS}", "warmup_steps=1", "validate_every=1000", "validation_photos=1",
        "data.validation_percent=0", *small, *overrides,
    ])  # fmt: skip
    run, loading = measure(lambda: Run(recipe), device)
    _, training = measure(run.train, device)
    weights = {str(parameter.dtype) for parameter in run.model.parameters()}
    step = round(run.progress.seconds / STEPS, 2)
    return {"load": loading, "train": training, "seconds_per_step": step, "weights": sorted(weights)}


def export(scratch: Path) -> dict[str, Any]:
    """The weights as int8; loads the model in float32."""
    from instructseg.inference.segmenter import Segmenter
    from instructseg.model.storage import save_compact

    def run() -> None:
        segmenter = Segmenter.load(scratch / "converted", device="cpu", dtype="float32")
        save_compact(segmenter.model, scratch / "int8")
        segmenter.processor.save_pretrained(scratch / "int8")

    _, figures = measure(run, "cpu")
    return figures | {"bytes": sum(file.stat().st_size for file in (scratch / "int8").glob("*.safetensors"))}


def stages(scratch: Path, device: str, tiny: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every stage in its order."""
    return {
        "write": lambda: write(scratch, tiny),
        "convert": lambda: convert(scratch, tiny),
        "export int8": lambda: export(scratch),
        "float32": lambda: infer(scratch / "converted", "float32", device),
        "bfloat16": lambda: infer(scratch / "converted", "bfloat16", device),
        "int8, loaded as bfloat16": lambda: infer(scratch / "int8", "bfloat16", device),
        "fine-tune": lambda: fine_tune(scratch, device, tiny),
    }


def main() -> None:
    parser = make_parser(__doc__, "guide_3b.json")
    parser.add_argument("scratch", type=Path, help="a new or empty folder; it is emptied at the end")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="where to compute (default: cuda)")
    parser.add_argument("--tiny", action="store_true", help="use a model of some hundred kilobytes instead")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    scratch = options.scratch.resolve()
    if options.stage:
        print(json.dumps(stages(scratch, options.device, options.tiny)[options.stage]()))
        return
    scratch.mkdir(parents=True, exist_ok=True)
    facts = {"size": "tiny" if options.tiny else "full", "device": options.device, "device_name": device_name(options)}
    result = ResultFile(options.output, provenance(MODULE, options, seed=0) | facts)
    done: dict[str, Any] = {}
    for name in stages(scratch, options.device, options.tiny):
        tiny = ["--tiny"] if options.tiny else []
        done[name] = run_stage(MODULE, [str(scratch), "--device", options.device, "--stage", name, *tiny])
        result.add(stages=done)
        print(name, json.dumps(done[name]), file=sys.stderr)
    shutil.rmtree(scratch)


def device_name(options: argparse.Namespace) -> str:
    """The GPU's name, "cpu" without one."""
    import torch

    return torch.cuda.get_device_name() if options.device == "cuda" else "cpu"


if __name__ == "__main__":
    main()
