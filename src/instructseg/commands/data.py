"""`instructseg data`: is a data set whole, and the same in one self-contained form."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.commands.report import FAILED, errors_in_one_line, one_line, say

if TYPE_CHECKING:
    from instructseg.data.catalogue.entry import Entry
    from instructseg.data.check import SplitReport

app = typer.Typer(help="Check data sets on disk, and prepare them for fast reading.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A data set, such as refcoco; `data list` names them all.")]
Root = Annotated[Path, typer.Argument(metavar="ROOT", help="The folder below which the data sets lie.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be given several times.")]


@app.command("list")
def list_() -> None:
    """Name every data set with its splits and where to get it."""
    from instructseg.data.catalogue.registry import CATALOGUE

    for entry in CATALOGUE.values():
        typer.echo(f"{entry.name}: {entry.title}\n  splits   {', '.join(entry.splits)}\n  from     {entry.where}")
        typer.echo(f"  licence  {entry.licence}")
        for pattern, what in entry.layout.items():
            typer.echo(f"  ROOT/{pattern}  {what}")


@app.command()
def check(
    name: Name,
    root: Root,
    split: Splits = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Read every sample: what is there, what is missing, the first bad one, and the counts beside the published ones.

    Exit code 1 if something is wrong. A split that is not there at all is no error unless it is asked for by name.
    """
    with errors_in_one_line():
        from instructseg.data.catalogue.registry import entry as find
        from instructseg.data.check import check_split, is_good

        entry = find(name)
        _need_folder(root)
        reports = [check_split(entry, root, each, _progress(f"{name} {each}")) for each in split or entry.splits]
        if as_json:
            typer.echo(json.dumps({"name": name, "root": str(root), "splits": [vars(each) for each in reports]}))
        else:
            _print(entry, reports)
        good = is_good(reports, all_wanted=bool(split))
    if not good:
        raise typer.Exit(FAILED)


@app.command()
def prepare(
    name: Name,
    root: Root,
    destination: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write, or to go on with.")],
    split: Splits = None,
) -> None:
    """Write a data set as Parquet with its pictures and masks inside, for training and `datasets.load_dataset`.

    A run that was stopped goes on where it was. Without --split all splits that are there are written.
    """
    with errors_in_one_line():
        from instructseg.data.catalogue.registry import entry as find
        from instructseg.data.prepare import prepare as write
        from instructseg.errors import DataError

        entry, written = find(name), 0
        _need_folder(root)
        for each in split or entry.splits:
            try:
                reader = entry.open(root, each)
            except DataError as error:
                if split:
                    raise
                say(f"{name} {each} is left out: {error}")
                continue
            paths = write(reader, destination, name, each, progress=_progress(f"{name} {each}"))
            written += 1
            size = sum(path.stat().st_size for path in paths) / 1e6
            say(f"{name} {each}: {len(reader)} samples in {len(paths)} files, {size:.1f} MB, in {destination / 'data'}")
        if not written:
            raise DataError(f"no split of {name} is in {root}; see `instructseg data check {name} {root}`")


def _need_folder(root: Path) -> None:
    from instructseg.errors import InputError

    if not root.is_dir():
        raise InputError(f"{root} is not a folder; give the one that holds the data sets")


def _print(entry: Entry, reports: list[SplitReport]) -> None:
    from instructseg.data.check import ABSENT

    typer.echo(f"{entry.name}: {entry.title}")
    for report in reports:
        typer.echo(f"{report.split}: {report.status}")
        for word, files in (("found", report.found), ("missing", report.missing)):
            for pattern, what in files.items():
                typer.echo(f"  {word:8} {pattern}  ({what})")
        for count, number in report.counts.items():
            published = report.published.get(count)
            typer.echo(f"  {number:>8} {count}" + (f", {published} published" if published is not None else ""))
        if report.problem and report.status != ABSENT:
            typer.echo(f"  problem  {one_line(report.problem)}" + (f" ({report.bad} bad in all)" if report.bad else ""))
    if reports and not any(report.counts for report in reports):
        typer.echo(f"Get it from {entry.where}")


def _progress(title: str) -> Callable[[Iterable[int]], Iterable[int]]:
    """A bar on stderr for a person who watches, nothing for a log file."""
    if not sys.stderr.isatty():
        return iter
    from rich.console import Console
    from rich.progress import track

    return lambda items: track(items, title, console=Console(stderr=True), transient=True)
