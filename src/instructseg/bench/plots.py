"""Plots of result files: curves, each stage's share of the limit, and ours beside the released schedule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instructseg.bench.targets import ResultFiles

CURVES = ("image side", "texts", "reference frames", "frames", "photos")


def write_plots(results: ResultFiles, folder: Path) -> list[Path]:
    """Write a PNG per file that has something to plot; returns their paths."""
    written = []
    for name, content in results.items():
        draw = {"curves": _curves, "photo": _stages}.get(str(content.get("kind")))
        path = folder / f"bench_{name}.png"
        if draw is not None and draw(content, path):
            written.append(path)
    return written


def _curves(content: Mapping[str, Any], path: Path) -> bool:
    """Seconds against each quantity, with what its arithmetic alone would take from the first point on."""
    from matplotlib.figure import Figure

    present = [name for name in CURVES if isinstance(content.get(name), Mapping) and "failed" not in content[name]]
    if not present:
        return False
    figure = Figure(figsize=(3.6 * len(present), 3.4), layout="constrained")
    axes = figure.subplots(1, len(present), squeeze=False)[0]
    for axis, name in zip(axes, present, strict=True):
        rows = {float(value): row for value, row in content[name].items()}
        x, seconds = list(rows), [row["seconds"]["median"] for row in rows.values()]
        spread = [[row["seconds"]["median"] - row["seconds"]["lowest"] for row in rows.values()],
                  [row["seconds"]["highest"] - row["seconds"]["median"] for row in rows.values()]]  # fmt: skip
        flops = [row["gflop"] for row in rows.values()]
        axis.errorbar(x, seconds, yerr=spread, marker="o", capsize=3, label="measured")
        if flops[0]:
            axis.plot(x, [seconds[0] * each / flops[0] for each in flops], "--", color="grey", label="arithmetic")
        axis.set(xlabel=name, ylabel="seconds", ylim=(0, None), xticks=x)
        axis.tick_params(axis="x", labelrotation=45)
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"{content.get('model')}, {content.get('device')}, {content.get('dtype')}")
    figure.savefig(path, dpi=110)
    return True


def _stages(content: Mapping[str, Any], path: Path) -> bool:
    """Seconds of each stage, and the least that the machine's limits allow."""
    from matplotlib.figure import Figure

    rows = content.get("stages")
    if not isinstance(rows, Mapping) or "failed" in rows:
        return False
    names = list(rows)[::-1]
    figure = Figure(figsize=(8, 0.45 * len(names) + 1.2), layout="constrained")
    axis = figure.subplots()
    seconds = [1000 * rows[name]["seconds"]["median"] for name in names]
    axis.barh(names, seconds, color="tab:blue", label="measured")
    axis.barh(names, [1000 * rows[name]["least_seconds"] for name in names], height=0.4, color="tab:orange",
              label="least by matrix products and copies")  # fmt: skip
    for place, name in enumerate(names):
        axis.text(seconds[place], place, f"  {rows[name]['share_of_limit']:.0%}", va="center")
    axis.set(xlabel="milliseconds", xlim=(0, 1.15 * max(seconds)))
    axis.legend(loc="lower right")
    figure.suptitle(f"{content.get('model')}, {content.get('device')}, {content.get('dtype')}: one photo, one text")
    figure.savefig(path, dpi=110)
    return True
