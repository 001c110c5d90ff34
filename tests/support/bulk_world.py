"""A tiny model and folders of tiny photos, a clip and files that cannot be read, for tests of bulk jobs."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import tiny_model
from PIL import Image
from tiny_clips import encode, pictures

from instructseg.bulk.settings import Settings

TEXTS = ["the red dog", "the small cat"]
FRAMES = 3


def settings(model: Path, **changes) -> Settings:
    return Settings(str(model), "cpu", **{"threshold": 0.0, **changes})


def save_photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tiny_model.photo(24, 32, seed)).save(path)
    return path


def save_inputs(folder: Path, photos: int = 6) -> Path:
    """Photos 000.png, 001.png, ..., a clip among them, a file that is no photo, and a photo in a subfolder."""
    for number in range(photos):
        save_photo(folder / f"{number:03d}.png", number)
    encode(folder / "002-clip.mp4", pictures(FRAMES, 32, 48))
    (folder / "003-broken.png").write_bytes(b"not a photo")
    save_photo(folder / "below" / "last.png", 99)
    return folder


def read_rows(output: Path) -> list[dict]:
    """All rows of a job, in the order of its shards."""
    return [row for path in sorted((output / "data").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def keys(rows: list[dict]) -> list[tuple]:
    """What must occur exactly once."""
    return [(row["source"], row["member"], row["instruction"], row["frame"]) for row in rows]


def expected_keys(folder: Path, photos: int = 6, texts: list[str] = TEXTS) -> set[tuple]:
    """The keys of all rows of `save_inputs`."""
    names = [*(f"{number:03d}.png" for number in range(photos)), "below/last.png"]
    whole = {(str(folder / name), None, text, None) for name in names for text in texts}
    clip = {(str(folder / "002-clip.mp4"), None, text, frame) for text in texts for frame in range(FRAMES)}
    return whole | clip | {(str(folder / "003-broken.png"), None, text, None) for text in texts}


def journal(output: Path) -> list[dict]:
    """The lines of all attempts, of a job that runs; a line that is being written is left out."""
    lines = []
    for path in sorted((output / "attempts").glob("*.jsonl")):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        lines += [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return lines


class Killer(threading.Thread):
    """Kills each worker that reads the item `poison` alone, or any worker once, by the process id in its journal."""

    def __init__(self, output: Path, poison: int | None = None) -> None:
        super().__init__(daemon=True)
        self.output, self.poison, self.killed = output, poison, []

    def run(self) -> None:
        while self.poison is not None or not self.killed:
            lines = journal(self.output)
            pids = [line["begin"] for line in lines if "begin" in line]
            if pids and pids[-1] not in (*self.killed, os.getpid()) and self._hits(lines[-1].get("reading", [])):
                os.kill(pids[-1], signal.SIGKILL)
                self.killed.append(pids[-1])
            time.sleep(0.001)

    def _hits(self, reading: list[int]) -> bool:
        return bool(reading) and self.poison in (None, *reading)
