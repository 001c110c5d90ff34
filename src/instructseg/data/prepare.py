"""Any reader's samples written once as Parquet: self-contained, streamable, what `datasets.load_dataset` opens.

    DST/data/val-00000-of-00002.parquet ...     rows as in `prepared_rows`
    DST/val.prepared                            JSON: what was prepared, so that a stopped run goes on

A shard holds a fixed number of samples and appears whole or not at all, so a second run writes only what is missing.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from instructseg.data.prepared_rows import to_row
from instructseg.errors import DataError, InputError, InstructSegError
from instructseg.media.files import make_folder, write_bytes
from instructseg.types import Sample

FORMAT = 2
READABLE_FORMATS = (1, FORMAT)  # format 1 has no column "dataset"
PHOTOS_A_SHARD, CLIPS_A_SHARD = 500, 20
GROUP_BYTES = 1 << 20  # pictures in one row group: what reading one sample at random costs
GROUP_ROWS = 64

Progress = Callable[[Iterable[int]], Iterable[int]]


def prepare(
    reader: Sequence[Sample],
    destination: Path,
    name: str,
    split: str,
    shard: int | None = None,
    progress: Progress = iter,
) -> list[Path]:
    """Write all samples of `reader` below `destination`; returns the shards.

    `shard` is the number of samples in a file. Raises DataError for a sample that cannot be read, and InputError when
    the folder holds another data set under this split's name. What was finished stays.
    """
    parquet()
    if not re.fullmatch(r"\w[\w-]*", split):
        raise InputError(f"split {split!r} cannot be a file name; letters, digits, - and _ were needed")
    if not len(reader):
        raise DataError(f"{name} {split} has no samples")
    shard = shard or (CLIPS_A_SHARD if len(_sample(reader, 0).frames) > 1 else PHOTOS_A_SHARD)
    facts = {"format": FORMAT, "name": name, "split": split, "samples": len(reader), "shard": shard}
    _claim(destination, split, facts)
    paths = shard_paths(destination, facts)
    for at in progress(range(len(paths))):
        if not paths[at].is_file():
            rows = (_row(reader, index) for index in range(at * shard, min((at + 1) * shard, len(reader))))
            write_bytes(paths[at], _file(rows))
    return paths


def shard_paths(destination: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Where the shards of a split lie; `datasets` finds splits of any name by this pattern."""
    shards, split = -(-facts["samples"] // facts["shard"]), facts["split"].replace("-", "_")
    return [destination / "data" / f"{split}-{at:05d}-of-{shards:05d}.parquet" for at in range(shards)]


def facts_path(destination: Path, split: str) -> Path:
    return destination / f"{split}.prepared"


def parquet() -> Any:
    """pyarrow's module for Parquet. Raises InputError with the way to install it."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise InputError('prepared data needs pyarrow; install it with: pip install "instructseg[data]"') from None
    return pyarrow.parquet


def schema() -> Any:
    """The table's columns, with what `datasets` needs to show `frames` as images."""
    import pyarrow as pa

    rle = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
    words = [(column, pa.string()) for column in ("text", "kind", "id", "answer", "details")]
    masks = [("mask", rle), ("ignore", rle), ("masks", pa.list_(rle))]
    columns = [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("task", pa.string()),
        ("key", pa.int32()),
        ("frames", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("frame_names", pa.list_(pa.string())),
        ("expressions", pa.list_(pa.struct(words + masks))),
        ("regions", pa.binary()),
        ("region_names", pa.list_(pa.string())),
    ]
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": _features()}})})


def _features() -> dict[str, Any]:
    """The columns in the words of `datasets`, version 2 and later."""

    def value(kind: str) -> dict[str, Any]:
        return {"dtype": kind, "_type": "Value"}

    def many(feature: Any) -> Any:
        return {"feature": feature, "_type": "Sequence"} if "_type" in feature else [feature]

    rle = {"size": many(value("int32")), "counts": value("string")}
    expression = {name: value("string") for name in ("text", "kind", "id", "answer", "details")}
    return {
        "id": value("string"),
        "dataset": value("string"),
        "task": value("string"),
        "key": value("int32"),
        "frames": many({"_type": "Image"}),
        "frame_names": many(value("string")),
        "expressions": many(expression | {"mask": rle, "ignore": rle, "masks": many(rle)}),
        "regions": value("binary"),
        "region_names": many(value("string")),
    }


def _claim(destination: Path, split: str, facts: Mapping[str, Any]) -> None:
    """Write down what is being prepared, or check that it is what was begun here."""
    path = facts_path(destination, split)
    if path.is_file():
        begun = read_facts(path)
        if begun != facts:
            changed = ", ".join(
                f"{key} {begun.get(key)} then, {facts[key]} now" for key in facts if begun.get(key) != facts[key]
            )
            raise InputError(f"{path} says that something else was prepared here ({changed}); give another folder")
        return
    make_folder(destination / "data")
    write_bytes(path, (json.dumps(facts, indent=1) + "\n").encode())


def read_facts(path: Path) -> dict[str, Any]:
    """What was prepared. Raises DataError when the file is missing or no such file."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] not in READABLE_FORMATS:
            formats = " and ".join(map(str, READABLE_FORMATS))
            raise DataError(f"expected {path} in format {formats}, got {facts['format']}; prepare the dataset again")
        return {key: facts[key] for key in ("format", "name", "split", "samples", "shard")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not say what was prepared ({error!r}); run `instructseg data prepare`") from error


def _sample(reader: Sequence[Sample], index: int) -> Sample:
    try:
        return reader[index]
    except InstructSegError as error:
        raise DataError(f"sample {index} cannot be prepared: {error}") from error


def _row(reader: Sequence[Sample], index: int) -> dict[str, Any]:
    sample = _sample(reader, index)
    try:
        return to_row(sample)
    except InstructSegError as error:  # of frames and masks, which clips decode only now
        raise DataError(f"sample {index} cannot be prepared: {error}") from error


def _file(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Rows as a Parquet file, a row group for every megabyte of pictures."""
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
