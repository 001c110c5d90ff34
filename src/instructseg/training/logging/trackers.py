"""Figures for TensorBoard and trackio, beside the log that is always written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.errors import RecipeError


class TensorBoard:
    """Scalars below OUTPUT/tensorboard; what an interrupted run had written after `step` is hidden."""

    def __init__(self, output: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise _missing("tensorboard") from None
        self.writer = SummaryWriter(str(output / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class Trackio:
    """A trackio run named after the output folder; `trackio show` opens it."""

    def __init__(self, output: Path, step: int, recipe: Mapping[str, Any]) -> None:
        try:
            import trackio
        except ImportError:
            raise _missing("trackio") from None
        self.trackio = trackio
        trackio.init(project="instructseg", name=output.name, config=dict(recipe), resume="allow" if step else "never")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self.trackio.log(dict(figures), step=step)

    def close(self) -> None:
        self.trackio.finish()


class Trackers:
    """All the trackers that a recipe names; none by default. Raises RecipeError for one that is not installed."""

    def __init__(self, names: Sequence[str], output: Path, step: int, recipe: Mapping[str, Any]) -> None:
        self.open = [TensorBoard(output, step) if name == "tensorboard" else Trackio(output, step, recipe)
                     for name in names]  # fmt: skip

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """`values` may be nested: {"losses": {"mask": 0.3}} becomes losses/mask."""
        figures = dict(_flat(values))
        for tracker in self.open:
            tracker.write(step, figures)

    def close(self) -> None:
        for tracker in self.open:
            tracker.close()


def _flat(values: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{where}{name}/")
        elif isinstance(value, int | float):
            yield f"{where}{name}", float(value)


def _missing(package: str) -> RecipeError:
    return RecipeError(
        f'the recipe reports to {package}, which is not installed; run: pip install "instructseg[{package}]", '
        "or take it out of `report`"
    )
