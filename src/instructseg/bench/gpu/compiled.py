"""What `Segmenter.load(..., compile=True)` gains, and how long its warm-up takes."""

from __future__ import annotations

import time

import torch

from instructseg.bench.gpu.inference import load
from instructseg.bench.gpu.part import PartResult, Settings
from instructseg.bench.inputs import TEXTS, example_photos
from instructseg.bench.models import describe
from instructseg.bench.timing import take_turns
from instructseg.inference.compilation import compile_encoders


def compiled(settings: Settings, result: PartResult) -> None:
    """The first text on a photo, eager against compiled, in turn; and the seconds of the first compiled call."""
    eager, fast = load(settings), load(settings)
    result.update(describe(fast, settings.scale, settings.seed))
    compile_encoders(fast.model, backend="eager" if settings.scale == "tiny" else "inductor")
    image = example_photos(1)[0]
    start = time.perf_counter()
    fast.open(image).segment(TEXTS[0])
    result.add(warm_up_seconds=time.perf_counter() - start)
    calls = {
        "eager": lambda: eager.open(image).segment(TEXTS[0], threshold=0.0),
        "compiled": lambda: fast.open(image).segment(TEXTS[0], threshold=0.0),
    }
    write = lambda table: result.update({"first text": table})  # noqa: E731
    take_turns(calls, settings.rounds(10), eager.model.device, on_round=write)
    masks = [call().masks for call in calls.values()]
    same = masks[0].shape == masks[1].shape
    result.add(share_of_pixels_that_differ=float((masks[0] != masks[1]).mean()) if same else 1.0)
    torch.compiler.reset()
