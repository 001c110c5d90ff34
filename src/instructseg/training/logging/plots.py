"""Training curves, plotted from the log of a run."""

from __future__ import annotations

from pathlib import Path

from instructseg.training.logging.run_log import read_log


def plot(log: Path, picture: Path) -> None:
    """Loss terms and validation mIoU over the steps, as a PNG."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    lines = read_log(log)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5))
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
    figure.savefig(picture, dpi=100)
    plt.close(figure)
