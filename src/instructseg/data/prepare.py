"""Write any reader's samples as Parquet: self-contained, streamable, readable by `datasets.load_dataset`.

    DST/data/val-00000-of-00002.parquet ...     rows as in `prepared_rows`
    DST/val.prepared                            JSON manifest, to resume an interrupted run

Each shard has a fixed number of samples and is written atomically, so a second run writes only the missing shards.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.prepared_rows import to_row
from instructseg.errors import DataError, InputError, InstructSegError
from instructseg.media.files import make_folder, write_bytes
from instructseg.media.folders import unfinished_folder, write_errors
from instructseg.types import Sample

FORMAT = 3
READABLE_FORMATS = (1, 2, FORMAT)  # format 1 has no column "dataset", formats 1 and 2 no single "instances"
PHOTOS_PER_SHARD, CLIPS_PER_SHARD = 500, 20
GROUP_BYTES = 1 << 20  # image bytes per row group: reading one sample reads its entire group
GROUP_ROWS = 64  # maximum number of samples in a row group

Progress = Callable[[Iterable[int]], Iterable[int]]


def prepare(
    reader: Sequence[Sample],
    destination: Path,
    name: str,
    split: str,
    shard: int | None = None,
    progress: Progress = iter,
) -> list[Path]:
    """Write all samples of `reader` below `destination`; returns the paths of the shards.

    Finished shards are kept if the run is interrupted or fails. Raises DataError for a sample that cannot be read, and
    InputError if the folder already has another dataset under this split's name or pyarrow is not installed.

    name: dataset name, compared when resuming.
    split: name of the split; letters, digits, - and _.
    shard: number of samples per file, by default 500 photos or 20 clips.
    progress: wraps the shard indices, for a progress bar.
    """
    parquet()
    if not re.fullmatch(r"\w[\w-]*", split):
        raise InputError(f"expected a split name of letters, digits, - and _, got {split!r}")
    if not len(reader):
        raise DataError(f"{name} {split} has no samples")
    shard = shard or (CLIPS_PER_SHARD if len(_sample(reader, 0).frames) > 1 else PHOTOS_PER_SHARD)
    facts = {"format": FORMAT, "name": name, "split": split, "samples": len(reader), "shard": shard}
    _start_or_resume(destination, split, facts)
    paths = shard_paths(destination, facts)
    with write_errors(destination), unfinished_folder(make_folder(destination / "data")) as unfinished:
        for number in progress(range(len(paths))):
            if not paths[number].is_file():
                rows = (_row(reader, index) for index in range(number * shard, min((number + 1) * shard, len(reader))))
                (unfinished / paths[number].name).write_bytes(_parquet_file(rows))
                os.replace(unfinished / paths[number].name, paths[number])
    return paths


def shard_paths(destination: Path, facts: Mapping[str, Any]) -> list[Path]:
    """The paths of a split's shards; `datasets` recognises the split's name by this pattern."""
    shards, split = -(-facts["samples"] // facts["shard"]), facts["split"].replace("-", "_")
    return [destination / "data" / f"{split}-{number:05d}-of-{shards:05d}.parquet" for number in range(shards)]


def facts_path(destination: Path, split: str) -> Path:
    """The path of a split's manifest."""
    return destination / f"{split}.prepared"


def parquet() -> Any:
    """The module pyarrow.parquet. Raises InputError with the command to install it."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError('prepared data needs pyarrow; install it with: pip install "instructseg[data]"') from None
    return pyarrow.parquet


def schema() -> Any:
    """The pyarrow schema of the table, with the metadata that makes `datasets` decode `frames` as images."""
    import pyarrow as pa

    rle = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    texts = [(column, pa.string()) for column in ("text", "kind", "id", "answer", "details")]
    masks = [("mask", rle), ("ignore", rle), ("masks", pa.list_(rle)), ("instances", pa.list_(rle))]
    columns = [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("task", pa.string()),
        ("key", pa.int32()),
        ("frames", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("frame_names", pa.list_(pa.string())),
        ("expressions", pa.list_(pa.struct(texts + masks))),
        ("regions", pa.binary()),
        ("region_names", pa.list_(pa.string())),
    ]
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": _features()}})})


def _features() -> dict[str, Any]:
    """The columns as features of `datasets` 2 and later."""

    def value(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "_type": "Value"}

    def sequence(feature: Any) -> Any:
        return {"feature": feature, "_type": "Sequence"} if "_type" in feature else [feature]

    rle = {"size": sequence(value("int32")), "counts": value("string")}
    expression = {name: value("string") for name in ("text", "kind", "id", "answer", "details")}
    return {
        "id": value("string"),
        "dataset": value("string"),
        "task": value("string"),
        "key": value("int32"),
        "frames": sequence({"_type": "Image"}),
        "frame_names": sequence(value("string")),
        "expressions": sequence(
            expression | {"mask": rle, "ignore": rle, "masks": sequence(rle), "instances": sequence(rle)}
        ),
        "regions": value("binary"),
        "region_names": sequence(value("string")),
    }


def _start_or_resume(destination: Path, split: str, facts: Mapping[str, Any]) -> None:
    """Write the split's manifest, or check that the existing one matches `facts`."""
    path = facts_path(destination, split)
    if path.is_file():
        started = read_facts(path)
        if started != facts:
            changed = ", ".join(
                f"{key} {started.get(key)} then, {facts[key]} now" for key in facts if started.get(key) != facts[key]
            )
            raise InputError(f"{path} describes another prepared dataset ({changed}); choose another folder")
        return
    make_folder(destination / "data")
    write_bytes(path, (json.dumps(facts, indent=1) + "\n").encode())


def read_facts(path: Path) -> dict[str, Any]:
    """The content of a manifest. Raises DataError if the file is missing, damaged or of an unknown format."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] not in READABLE_FORMATS:
            formats = " and ".join(map(str, READABLE_FORMATS))
            raise DataError(f"expected {path} in format {formats}, got {facts['format']}; prepare the dataset again")
        return {key: facts[key] for key in ("format", "name", "split", "samples", "shard")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is not a valid manifest ({error!r}); run `instructseg data prepare`") from error


def _sample(reader: Sequence[Sample], index: int) -> Sample:
    try:
        return reader[index]
    except InstructSegError as error:
        raise DataError(f"sample {index} cannot be prepared: {error}") from error


def _row(reader: Sequence[Sample], index: int) -> dict[str, Any]:
    sample = _sample(reader, index)
    try:
        return to_row(sample)
    except InstructSegError as error:  # clips decode their frames and masks on access
        raise DataError(f"sample {index} cannot be prepared: {error}") from error


def _parquet_file(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as the bytes of a Parquet file, with one row group per megabyte of images."""
    import pyarrow as pa

    columns, buffer = schema(), io.BytesIO()
    with parquet().ParquetWriter(buffer, columns, compression="zstd", write_page_checksum=True) as writer:
        group: list[Mapping[str, Any]] = []
        size = 0
        for row in rows:
            group.append(row)
            size += sum(len(frame["bytes"]) for frame in row["frames"])
            if size >= GROUP_BYTES or len(group) == GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(group, columns))
                group, size = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, columns))
    return buffer.getvalue()
