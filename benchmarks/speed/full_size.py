"""The 3B model on one CPU machine: write a random released checkpoint, convert it, load it, segment.

    python -m benchmarks.speed.full_size SCRATCH [--tiny]

SCRATCH needs about 15 GB of disk. Each stage runs in a process of its own, so that its peak memory is measured alone;
`--tiny` does the same with a model of some hundred kilobytes. The masks of random weights mean nothing.
"""

import argparse
import json
import platform
import resource
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import ResultFile, make_parser, provenance, run_stage

MODULE = "benchmarks.speed.full_size"
STAGES = ("write", "convert", "load_and_segment")
GB = 1e9


class Memory:
    """Measures seconds and peak memory of a block, with and without memory-mapped files."""

    def __enter__(self) -> "Memory":
        self.anonymous, self.start = 0, time.perf_counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
            kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.anonymous = max(self.anonymous, 1024 * kilobytes)

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.start
        self._stop.set()
        self._thread.join()

    def report(self) -> dict[str, float]:
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"seconds": round(self.seconds, 2), "peak_gb": round(peak / GB, 3),
                "peak_without_mapped_files_gb": round(self.anonymous / GB, 3)}  # fmt: skip


def sizes(tiny: bool):
    """The released checkpoint's sizes and our configuration with the same."""
    from benchmarks.speed.released_checkpoint import Sizes
    from instructseg.model.configuration import InstructSegConfig
    from instructseg.model.presets import paper

    if not tiny:
        return Sizes(), paper()
    small = Sizes(
        words=98, output_words=120, width=40, ffn=56, layers=2, eye_width=24, eye_ffn=48, eye_layers=3, eye_patches=16,
        eye_patch=7, swin_width=8, swin_depths=(2, 1, 2, 1), swin_heads=(1, 2, 2, 4), window=4, decoder=32,
        pixel_layers=2, pixel_ffn=24, heads=4, mask_layers=3, mask_ffn=40, queries=6, latents=3, resampler_inner=16,
        resampler_layers=2, fusion=16,
    )  # fmt: skip
    resampler = {"depth": 2, "num_heads": 2, "head_dim": 8}
    config = InstructSegConfig.from_dict(paper().to_dict() | {
        "text_config": {"model_type": "phi", "vocab_size": 98, "hidden_size": 40, "intermediate_size": 56,
                        "num_hidden_layers": 2, "num_attention_heads": 4,
                        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0,
                                            "partial_rotary_factor": 0.4}},
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 24, "intermediate_size": 48,
                          "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 28, "patch_size": 7,
                          "vision_use_head": False},
        "backbone_config": {"model_type": "swin", "embed_dim": 8, "depths": [2, 1, 2, 1], "num_heads": [1, 2, 2, 4],
                            "window_size": 4, "image_size": 64,
                            "out_features": ["stage1", "stage2", "stage3", "stage4"]},
        "perceiver_config": {"num_latents": 3, **resampler},
        "text_fusion_config": {"hidden_size": 16, **resampler},
        "decoder_config": {"hidden_size": 32, "mask_size": 32, "num_heads": 4, "pixel_layers": 2, "pixel_ffn_size": 24,
                           "decoder_layers": 3, "ffn_size": 40},
        "num_mask_tokens": 6, "lm_head_size": 120,
    })  # fmt: skip
    return small, config


def write(scratch: Path, tiny: bool) -> dict[str, Any]:
    from benchmarks.speed import released_checkpoint

    shapes, _ = sizes(tiny)
    with Memory() as memory:
        released_checkpoint.write(scratch / "released", shapes, shard_bytes=200_000 if tiny else 5_000_000_000)
    files = [file.stat().st_size for file in (scratch / "released").glob("*.safetensors")]
    count = len(released_checkpoint.released_shapes(shapes))
    return memory.report() | {"tensors": count, "bytes": sum(files), "largest_shard_bytes": max(files)}


def convert(scratch: Path, tiny: bool) -> dict[str, Any]:
    from instructseg.conversion.convert import convert_released

    _, config = sizes(tiny)
    with Memory() as memory:
        report = convert_released(scratch / "released", scratch / "converted", config)
    shard = max(file.stat().st_size for file in (scratch / "released").glob("*.safetensors"))
    found = memory.report()
    return found | {
        "used": len(report.used), "ignored": len(report.ignored), "fresh": len(report.fresh), "log": report.summary(),
        "peak_above_one_shard_gb": round(found["peak_gb"] - shard / GB, 3),
    }  # fmt: skip


def load_and_segment(scratch: Path, tiny: bool) -> dict[str, Any]:
    import numpy as np

    from instructseg.inference.segmenter import Segmenter

    with Memory() as memory:
        segmenter = Segmenter.load(scratch / "converted", device="cpu", dtype="bfloat16")
    weights = sum(tensor.numel() * tensor.element_size() for tensor in segmenter.model.state_dict().values())
    loading = memory.report() | {"weights_bytes": weights}
    for name in ("peak", "peak_without_mapped_files"):
        loading[f"{name}_over_weights"] = round(loading[f"{name}_gb"] * GB / weights, 3)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(6)]
    with Memory() as photo:
        segmenter.segment(frames[0], "the dog on the left")
    with Memory() as clip:
        segmenter.segment_video(frames, "the dog on the left", linking="off", threshold=0.0)
    return {"load": loading, "photo": photo.report(), "clip_of_6_frames": clip.report()}


def limits(results: dict[str, dict]) -> dict[str, bool]:
    """Each limit we promise, and whether it is met."""
    stages = results["load_and_segment"]
    return {
        "conversion's peak is at most 2 GB above one shard": results["convert"]["peak_above_one_shard_gb"] <= 2,
        "loading's peak is at most 1.15 x the weights": stages["load"]["peak_over_weights"] <= 1.15,
        "one photo takes at most 20 s": stages["photo"]["seconds"] <= 20,
        "the whole process stays within 10 GB": stages["clip_of_6_frames"]["peak_gb"] <= 10,
    }


def main() -> None:
    parser = make_parser(__doc__, "full_size.json")
    parser.add_argument("scratch", type=Path, help="a new or empty folder; it is emptied at the end")
    parser.add_argument("--tiny", action="store_true", help="use a model of some hundred kilobytes instead")
    parser.add_argument("--keep", action="store_true", help="leave the weights in the scratch folder")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(globals()[options.stage](options.scratch, options.tiny)))
        return
    options.scratch.mkdir(parents=True, exist_ok=True)
    processor = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    facts = provenance(MODULE, options, seed=0) | {"size": "tiny" if options.tiny else "full", "machine": processor}
    result, stages = ResultFile(options.output, facts), {}
    for stage in STAGES:
        tiny = ["--tiny"] if options.tiny else []
        stages[stage] = run_stage(MODULE, [str(options.scratch.resolve()), "--stage", stage, *tiny])
        result.add(stages=stages)
        print(stage, json.dumps(stages[stage]), file=sys.stderr)
    if not options.keep:
        for name in ("released", "converted"):
            shutil.rmtree(options.scratch / name)
    result.add(limits=limits(stages))
    print(json.dumps(result.content, indent=1))


if __name__ == "__main__":
    main()
