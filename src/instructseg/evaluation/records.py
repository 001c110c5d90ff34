"""Records of samples on disk: appended line by line during a run, one sorted file at its end.

A killed run leaves complete lines and at most one truncated line, whose sample is evaluated again. Timings are kept in
a separate file, so that samples.jsonl is identical for two runs of the same work.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from instructseg.errors import DataError
from instructseg.media.files import make_folder, write_bytes

Record = Mapping[str, Any]
"""One sample's record: "index", "id", "expressions" and, if it failed, "error"; plain JSON."""
SAMPLES, SECONDS, PARTS = "samples.jsonl", "seconds.jsonl", "parts"


class RecordFolder:
    """The records of one benchmark in `folder`; every process appends to its own log file in `folder`/parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.samples, self.seconds, self.parts = folder / SAMPLES, folder / SECONDS, folder / PARTS

    def read(self) -> tuple[dict[int, Record], dict[int, float]]:
        """Records and seconds by sample index, including earlier runs; records without an error take precedence.

        Raises DataError if the finished file has a line that is not a record.
        """
        records: dict[int, Record] = {record["index"]: record for record in read_lines(self.samples)}
        seconds = {line["index"]: line["seconds"] for line in read_lines(self.seconds)}
        for part in sorted(self.parts.glob("*.jsonl")):
            for line in read_lines(part, torn=True):
                index = line["record"]["index"]
                if "error" not in line["record"] or index not in records:
                    records[index], seconds[index] = line["record"], line["seconds"]
        return records, seconds

    def open_log(self, rank: int) -> RecordLog:
        """The log file of process `rank`; a truncated last line is removed."""
        make_folder(self.parts)
        return RecordLog(self.parts / f"{rank:04d}.jsonl")

    def finish(self, records: Mapping[int, Record], seconds: Mapping[int, float]) -> None:
        """Write the sorted files atomically, then delete the logs."""
        write_lines(self.seconds, ({"index": index, "seconds": seconds[index]} for index in sorted(seconds)))
        write_lines(self.samples, (records[index] for index in sorted(records)))
        for part in self.parts.glob("*.jsonl"):
            part.unlink()
        if self.parts.is_dir():
            self.parts.rmdir()


class RecordLog:
    """The records of one process; each line is a single write, so that a kill truncates at most the last line."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            content = path.read_bytes()
            os.truncate(path, content.rfind(b"\n") + 1)
        self._file = path.open("ab", buffering=0)

    def append(self, record: Record, seconds: float) -> None:
        """Append a sample's record and the seconds it took, in a single write."""
        self._file.write(encode({"record": record, "seconds": round(seconds, 3)}))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def encode(line: Record) -> bytes:
    """One line of JSON; the same bytes for the same content. Raises ValueError for NaN and infinities."""
    return json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(", ", ": ")).encode() + b"\n"


def write_lines(path: Path, lines: Iterable[Record]) -> None:
    """Write a JSON lines file atomically."""
    write_bytes(path, b"".join(map(encode, lines)))


def read_lines(path: Path, torn: bool = False) -> list[dict[str, Any]]:
    """The lines of a JSON lines file, none if it does not exist; `torn` drops a last line without a line break.

    Raises DataError naming the first line that is not a JSON object.
    """
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1] if torn else content
    lines = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            lines.append(json.loads(line))
            if not isinstance(lines[-1], dict):
                raise ValueError(f"got a {type(lines[-1]).__name__}")
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}, line {number}: expected a JSON object ({error}); repair or delete the line"
            ) from error
    return lines
