"""Attempts: a journal of the items that a worker is about to read, to find and leave out items that kill workers.

A worker that ends normally or with an exception deletes the journal or closes it with an empty entry. If the journal
ends with an entry of items, the process died while it read them: a decoder crashed, or the process was killed (by the
out-of-memory killer, by SIGKILL). From then on, the shard's items are read one by one. An item that was being read when
`MAX_DEATHS` processes died is left out.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from instructseg.bulk.items import Item

MAX_DEATHS = 3


class Attempts:
    """The journal of one shard; a context manager, which at its end records that the process did not die.

    Attributes: `died`: whether an earlier process died on this shard. `deaths`: item number -> number of processes that
    died while they read this item alone.
    """

    def __init__(self, folder: Path, shard: int) -> None:
        self.path = folder / f"{shard:06d}.jsonl"
        last: list[int] = []
        self.died, self.deaths = False, Counter[int]()
        for line in [*self._lines(), {"begin": 0}]:
            if "begin" in line and last:
                self.died = True
                self.deaths.update(last if len(last) == 1 else [])
            last = line.get("reading", [])

    def __enter__(self) -> Attempts:
        self._write({"begin": os.getpid()})
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.path.unlink(missing_ok=True)
        else:
            with suppress(OSError):  # the disk is full, which `error` already reports
                self._write({"reading": []})

    def forget(self) -> None:
        """Delete the journal: the items are tried again as if no process had died on them."""
        self.path.unlink(missing_ok=True)

    def excludes(self, item: Item) -> bool:
        """Whether too many processes died on the item for it to be read again."""
        return self.deaths[item.number] >= MAX_DEATHS

    def reading(self, items: Sequence[Item]) -> None:
        """Record the items that are read next."""
        self._write({"reading": [item.number for item in items if not self.excludes(item)]})

    def _write(self, line: dict) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> list[dict]:
        lines = []
        for text in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []:
            try:
                lines.append(json.loads(text))
            except ValueError:  # the last line of a killed process
                continue
        return lines
