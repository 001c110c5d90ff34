"""Draw the losses of nano's base and choice stages from their logs.

    python -m tools.stage_curves

Reads the logs of STAGES in docs/results and writes docs/pictures/nano_stages.png. A thin line is the mean of ten steps,
a thick one the mean of the last hundred.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.harness import ROOT
from instructseg.training.logging.run_log import read_log

STAGES = {
    "base, again: masks of the seeds": ("nano_base_again",),
    "choice, choice (clothes)": ("nano_choice", "nano_choice_clothes"),
    "choice, again": ("nano_choice_again",),
    "choice, questions about use": ("nano_choice_questions",),
}
TERMS = {"score": "score", "dice": "Dice", "mask": "mask BCE", "seed_dice": "Dice", "seed_mask": "mask BCE"}
WINDOW = 10


def draw(results: Path) -> Figure:
    """One panel for each of STAGES; the steps of a panel's logs follow one another."""
    figure = Figure(figsize=(3.75 * len(STAGES), 4))
    for axis, (title, names) in zip(figure.subplots(1, len(STAGES)), STAGES.items(), strict=True):
        lines, start = [], 0
        for name in names:
            log = [line for line in read_log(results / f"{name}.jsonl") if "losses" in line]
            lines += [line | {"step": line["step"] + start} for line in log]
            start = lines[-1]["step"]
        steps = [line["step"] for line in lines]
        for color, term in enumerate(term for term in TERMS if term in lines[0]["losses"]):
            values = np.array([line["losses"][term] for line in lines])
            axis.plot(steps, values, color=f"C{color}", alpha=0.25, linewidth=0.8)
            means = np.convolve(values, np.ones(WINDOW) / WINDOW, mode="valid")
            axis.plot(steps[WINDOW - 1 :], means, color=f"C{color}", label=TERMS[term])
        axis.set(title=title, xlabel="step", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    draw(ROOT / "docs" / "results").savefig(ROOT / "docs" / "pictures" / "nano_stages.png", dpi=100)
