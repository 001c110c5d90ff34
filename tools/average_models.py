"""Average the weights of a model and of one trained on from it, and store the result as compact weights.

    python -m tools.average_models --before FOLDER --after FOLDER --output FOLDER [--share 0.5] [--storage int4]

Continued training both learns and forgets; the average of start and end often scores higher than either. Modules that
were reinitialized in between (`--kept`) are copied from the second model.
"""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.harness import make_parser
from instructseg.inference.segmenter import Segmenter
from instructseg.model.modeling import InstructSegModel
from instructseg.model.storage import COMPACT, save_compact


@torch.no_grad()
def average(before: InstructSegModel, after: InstructSegModel, share: float, kept: tuple[str, ...]) -> None:
    """Interpolate `after` in place to (1 - share) * before + share * after, except for the modules in `kept`."""
    start = dict(before.named_parameters())
    for name, parameter in after.named_parameters():
        if name.split(".")[0] not in kept:
            parameter.lerp_(start[name], 1 - share)


def main() -> None:
    parser = make_parser(__doc__)
    for name in ("before", "after", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="the folder of a model")
    parser.add_argument("--share", type=float, default=0.5, help="weight of the second model, 0..1 (default: 0.5)")
    parser.add_argument("--storage", choices=COMPACT, default="int8", help="stored weights (default: int8)")
    parser.add_argument("--kept", nargs="*", default=["perceiver"], help="modules copied from the second model")
    given = parser.parse_args()
    before, after = (Segmenter.load(folder, device="cpu", dtype="float32") for folder in (given.before, given.after))
    average(before.model, after.model, given.share, tuple(given.kept))
    save_compact(after.model, given.output, given.storage)
    after.processor.save_pretrained(given.output)
    print(f"written to {given.output}")


if __name__ == "__main__":
    main()
