"""The JSONL log of a run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from instructseg.errors import InputError
from instructseg.media.files import new_file


class RunLog:
    """Append-only JSONL; on resuming, lines after the resumed step are removed, so that no step appears twice.

    Raises InputError if a line cannot be written; earlier lines are kept.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        lines = "".join(json.dumps(line) + "\n" for line in read_log(path) if line["step"] <= step)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new_file(path, single_writer=True) as unfinished:
                unfinished.write_text(lines, encoding="utf-8")
        except OSError as error:
            raise self._write_error(error) from error

    def write(self, **values: Any) -> None:
        """Append a line with these values and the time."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values | {"time": round(time.time(), 1)}) + "\n")
        except OSError as error:
            raise self._write_error(error) from error

    def _write_error(self, error: OSError) -> InputError:
        return InputError(f"{self.path} cannot be written: {error.strerror}; free some space and start the run again; "
                          "it resumes from the last checkpoint")  # fmt: skip


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; a truncated last line is ignored."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines
