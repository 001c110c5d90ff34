"""Average the weights of a model and of one trained on from it, and store the result as compact weights.

    python benchmarks/average_models.py --before FOLDER --after FOLDER --output FOLDER [--share 0.5] [--kept perceiver]

A short further training learns something and forgets something; the average of both ends often keeps more than either.
Tensors of the modules that started anew in between (`--kept`) are those of the second model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from instructseg.inference.segmenter import Segmenter
from instructseg.model.modeling import InstructSegModel
from instructseg.model.storage import save_int8


@torch.no_grad()
def average(before: InstructSegModel, after: InstructSegModel, share: float, kept: tuple[str, ...]) -> None:
    """Move `after`, in place, so that it is `share` of itself and the rest `before`, but for the modules in `kept`."""
    known = dict(before.named_parameters())
    for name, parameter in after.named_parameters():
        if name.split(".")[0] not in kept:
            parameter.lerp_(known[name], 1 - share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("before", "after", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.5, help="of the second model")
    parser.add_argument("--kept", nargs="*", default=["perceiver"], help="modules taken from the second model alone")
    given = parser.parse_args()
    before, after = (Segmenter.load(folder, device="cpu", dtype="float32") for folder in (given.before, given.after))
    average(before.model, after.model, given.share, tuple(given.kept))
    save_int8(after.model, given.output)
    after.processor.save_pretrained(given.output)
    print(f"written to {given.output}")


if __name__ == "__main__":
    main()
