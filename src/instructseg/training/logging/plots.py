"""Training curves, plotted from the log of a run."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure

from instructseg.media.files import write_bytes
from instructseg.training.logging.run_log import read_log


def plot(log: Path, picture: Path) -> None:
    """Loss terms and validation mIoU over the steps, as a PNG."""
    lines, figure = read_log(log), Figure(figsize=(12, 4.5))
    left, right = figure.subplots(1, 2)
    losses = [line for line in lines if "losses" in line]
    for name in sorted({name for line in losses for name in line["losses"]}):
        left.plot([line["step"] for line in losses], [line["losses"].get(name) for line in losses], label=name)
    left.set(title="losses (weighted, mean of the window)", xlabel="step", yscale="log")
    scored = [line for line in lines if "validation" in line]
    for name in ("all", "best_of_all", "unique", "position", "function"):
        right.plot(
            [line["step"] for line in scored],
            [line["validation"].get(name, {}).get("miou") for line in scored],
            marker="o",
            label=name,
        )
    right.set(title="validation mIoU", xlabel="step", ylim=(0, None))
    for axis in (left, right):
        if axis.lines:
            axis.legend()
        axis.grid(alpha=0.3)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=100)
    write_bytes(picture, buffer.getvalue())
