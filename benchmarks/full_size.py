"""The 3B model on one CPU machine: write a random released checkpoint, convert it, load it, segment.

    python benchmarks/full_size.py SCRATCH [--out docs/results/full_size.json] [--tiny]

SCRATCH needs about 15 GB. Each stage runs as a process of its own, so that its peak memory is its own; `--tiny` does
the same with a model of some hundred kilobytes. Masks of random weights mean nothing: sizes and seconds do.
"""

import argparse
import json
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

STAGES = ("write", "convert", "load_and_segment")
GB = 1e9


class Memory:
    """The process's memory while it is open: its peak, and the peak of what is its own (no mapped files)."""

    def __enter__(self) -> "Memory":
        self.anonymous, self.start = 0, time.perf_counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
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
    from released_checkpoint import Sizes

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


def write(scratch: Path, tiny: bool) -> dict[str, object]:
    import released_checkpoint

    shapes, _ = sizes(tiny)
    with Memory() as memory:
        released_checkpoint.write(scratch / "released", shapes, shard_bytes=200_000 if tiny else 5_000_000_000)
    files = [file.stat().st_size for file in (scratch / "released").glob("*.safetensors")]
    count = len(released_checkpoint.released_shapes(shapes))
    return memory.report() | {"tensors": count, "bytes": sum(files), "largest_shard_bytes": max(files)}


def convert(scratch: Path, tiny: bool) -> dict[str, object]:
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


def load_and_segment(scratch: Path, tiny: bool) -> dict[str, object]:
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
        segmenter.segment_video(frames, "the dog on the left", "off", threshold=0.0)
    return {"load": loading, "photo": photo.report(), "clip_of_6_frames": clip.report()}


def limits(results: dict[str, dict]) -> dict[str, bool]:
    """What was promised, and whether it was kept."""
    stages = results["load_and_segment"]
    return {
        "conversion's peak is at most 2 GB above one shard": results["convert"]["peak_above_one_shard_gb"] <= 2,
        "loading's peak is at most 1.15 x the weights": stages["load"]["peak_over_weights"] <= 1.15,
        "one photo takes at most 20 s": stages["photo"]["seconds"] <= 20,
        "the whole process stays within 10 GB": stages["clip_of_6_frames"]["peak_gb"] <= 10,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=Path, help="an empty or new folder; it is emptied at the end")
    parser.add_argument("--out", type=Path, help="a JSON file for the results")
    parser.add_argument("--tiny", action="store_true", help="a model of some hundred kilobytes instead")
    parser.add_argument("--keep", action="store_true", help="leave the weights in the scratch folder")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        print(json.dumps(globals()[given.stage](given.scratch, given.tiny)))
        return
    given.scratch.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict] = {}
    for stage in STAGES:
        command = [sys.executable, __file__, str(given.scratch), "--stage", stage, *(["--tiny"] if given.tiny else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results[stage] = json.loads(done.stdout.splitlines()[-1])
        print(stage, json.dumps(results[stage]), file=sys.stderr)
    if not given.keep:
        for name in ("released", "converted"):
            shutil.rmtree(given.scratch / name)
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    table = {"size": "tiny" if given.tiny else "full", "machine": machine, "stages": results, "limits": limits(results)}
    text = json.dumps(table, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
