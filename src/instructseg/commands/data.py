"""`instructseg data`: check datasets on disk, and write them as Parquet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instructseg.commands.report import FAILED, errors_in_one_line, note, one_line

if TYPE_CHECKING:
    from instructseg.data.catalogue.entry import Entry
    from instructseg.data.check import SplitReport

app = typer.Typer(help="Check datasets on disk, and prepare them for fast reading.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A dataset, such as refcoco; `instructseg data list` lists all.")
]
Root = Annotated[Path, typer.Argument(metavar="ROOT", help="The folder that contains the datasets.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this split; may be repeated.")]


@app.command("list")
def list_() -> None:
    """List every dataset with its splits, its files below ROOT, and where to get it."""
    from instructseg.data.catalogue.registry import CATALOGUE

    for entry in CATALOGUE.values():
        typer.echo(f"{entry.name}: {entry.title}\n  splits   {', '.join(entry.splits)}\n  from     {entry.where}")
        typer.echo(f"  licence  {entry.licence}")
        for pattern, what in entry.layout.items():
            typer.echo(f"  ROOT/{pattern}  {what}")


@app.command()
def check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A dataset of `instructseg data list`, or your own file or folder.")
    ],
    root: Annotated[
        Path | None, typer.Argument(metavar="[ROOT]", help="The folder with the datasets; none for your own data.")
    ] = None,
    split: Splits = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Read every sample, and print the files found and missing, the first broken sample and the counts.

    Counts are shown next to the published ones. Exit code 1 if a file is missing or broken or a count differs; a
    completely missing split is an error only if --split names it. Of your own data (`instructseg data check my_folder`)
    everything is listed that training would leave out; exit code 1 if that is anything.
    """
    with errors_in_one_line():
        if root is None:
            good = _check_own(name, split, as_json)
            if not good:
                raise typer.Exit(FAILED)
            return
        from instructseg.data.catalogue.registry import entry as find
        from instructseg.data.check import check_split, is_good

        entry = find(name)
        _need_folder(root)
        reports = [check_split(entry, root, part, _progress(f"{name} {part}")) for part in split or entry.splits]
        if as_json:
            typer.echo(json.dumps({"name": name, "root": str(root), "splits": [vars(report) for report in reports]}))
        else:
            _print(entry, reports)
        good = is_good(reports, all_wanted=bool(split))
    if not good:
        raise typer.Exit(FAILED)


@app.command()
def prepare(
    name: Name,
    root: Root,
    destination: Annotated[
        Path, typer.Argument(metavar="DST", help="The folder to write; an interrupted run resumes.")
    ],
    split: Splits = None,
) -> None:
    """Write a dataset as Parquet files that include images and masks, for training and `datasets.load_dataset`.

    Run the same command again to resume an interrupted run. Without --split, all splits found in ROOT are written.
    """
    with errors_in_one_line():
        from instructseg.data.catalogue.registry import entry as find
        from instructseg.data.prepare import prepare as write
        from instructseg.errors import DataError

        entry, written = find(name), 0
        _need_folder(root)
        for part in split or entry.splits:
            try:
                reader = entry.open(root, part)
            except DataError as error:
                if split:
                    raise
                note(f"skipped {name} {part}: {error}")
                continue
            paths = write(reader, destination, name, part, progress=_progress(f"{name} {part}"))
            written += 1
            size = sum(path.stat().st_size for path in paths) / 1e6
            note(
                f"{name} {part}: {len(reader)} samples in {len(paths)} files, {size:.1f} MB, in {destination / 'data'}"
            )
        if not written:
            raise DataError(
                f"expected a split of {name} in {root}, found none; run `instructseg data check {name} {root}`"
            )


def _check_own(name: str, split: list[str] | None, as_json: bool) -> bool:
    """Report on your own data; True if nothing is left out."""
    from instructseg.commands.data_report import print_report
    from instructseg.data.catalogue.registry import CATALOGUE
    from instructseg.data.own_data import check_own_data
    from instructseg.errors import InputError
    from instructseg.media.files import expand_user

    path = expand_user(name)
    if name in CATALOGUE and not path.exists():
        raise InputError(f"expected the folder that contains {name}, got none; instructseg data check {name} ROOT")
    if split:
        raise InputError("expected no --split for your own data; pass the folder of the split")
    report = check_own_data(path, _progress(name))
    print_report(path, report, as_json)
    return not report.problems.faults


def _need_folder(root: Path) -> None:
    from instructseg.errors import InputError

    if not root.is_dir():
        raise InputError(f"{root} is not a folder; pass the folder that contains the datasets")


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
            typer.echo(
                f"  problem  {one_line(report.problem)}" + (f" ({report.bad} bad in total)" if report.bad else "")
            )
    if reports and not any(report.counts for report in reports):
        typer.echo(f"Get it from {entry.where}")


def _progress(title: str) -> Callable[[Iterable[int]], Iterable[int]]:
    """A progress bar if stderr is a terminal, nothing otherwise."""
    if not sys.stderr.isatty():
        return iter
    from rich.console import Console
    from rich.progress import track

    return lambda items: track(items, title, console=Console(stderr=True), transient=True)
