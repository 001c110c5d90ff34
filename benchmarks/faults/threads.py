"""Do masks depend on the number of threads? Pixels that differ, and the operators whose results do.

    python -m benchmarks.faults.threads [--model nano]

Every example is segmented with one and with two threads. For one photo, each layer is then computed again on the same
input with one and with two threads: a layer that differs is where the difference begins.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.harness import ROOT, ResultFile, make_parser, provenance
from instructseg.inference.segmenter import Segmenter

EXAMPLES = ROOT / "examples"


def main() -> None:
    parser = make_parser(__doc__, output="threads.json", model=True)
    options = parser.parse_args()
    pairs = [
        (case["photo"], case["instruction"]) for case in json.loads((EXAMPLES / "expected.json").read_text("utf-8"))
    ]
    facts = provenance(
        "benchmarks.faults.threads", options, pairs=len(pairs), cpu=torch.backends.cpu.get_cpu_capability()
    )
    result = ResultFile(options.output, facts)
    segmenter = Segmenter.load(options.model, device="cpu")
    rows = []
    for photo, text in pairs:
        one, again, two = (predict(segmenter, photo, text, threads) for threads in (1, 1, 2))
        rows.append(
            {
                "photo": photo, "text": text, "pixels": int(one.mask.size), "differ": int((one.mask ^ two.mask).sum()),
                "differ_with_the_same_threads": int((one.mask ^ again.mask).sum()),
                "score_difference": float(abs(best(one) - best(two))),
            }
        )  # fmt: skip
    result.add(
        pairs_that_differ=sum(row["differ"] > 0 for row in rows), most_pixels=max(row["differ"] for row in rows),
        largest_score_difference=max(row["score_difference"] for row in rows), rows=rows,
        layers=compare_layers(segmenter, *pairs[0]),
    )  # fmt: skip
    differing, most = result.content["pairs_that_differ"], result.content["most_pixels"]
    print(f"{differing} of {len(rows)} pairs differ, at most {most} pixels")


def predict(segmenter: Segmenter, photo: str, text: str, threads: int) -> Any:
    torch.set_num_threads(threads)
    return segmenter.segment(EXAMPLES / photo, text)


def best(prediction: Any) -> float:
    return float(prediction.scores[0]) if len(prediction) else 0.0


def compare_layers(segmenter: Segmenter, photo: str, text: str) -> dict[str, dict[str, int]]:
    """Kind of layer -> how many there are, and how many give other bits with two threads on the same input."""
    calls: list[tuple[nn.Module, tuple[torch.Tensor, ...]]] = []
    kinds = nn.Linear | nn.Conv2d | nn.LayerNorm | nn.GroupNorm | nn.BatchNorm2d | nn.Embedding
    layers = [module for module in segmenter.model.modules() if isinstance(module, kinds)]
    hooks = [layer.register_forward_pre_hook(lambda layer, inputs: calls.append((layer, inputs))) for layer in layers]
    predict(segmenter, photo, text, 1)
    for hook in hooks:
        hook.remove()
    counts, differing = Counter(), Counter()
    with torch.inference_mode():
        for layer, inputs in calls:
            if not inputs or not all(isinstance(item, torch.Tensor) for item in inputs):
                continue
            outputs = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                outputs.append(layer(*inputs))
            if isinstance(outputs[0], torch.Tensor):
                name = type(layer).__name__
                counts[name] += 1
                differing[name] += not np.array_equal(outputs[0].numpy(), outputs[1].numpy())
    return {name: {"layers": counts[name], "differ": differing[name]} for name in sorted(counts)}


if __name__ == "__main__":
    main()
