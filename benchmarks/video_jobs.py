"""Clips with truth for the benchmarks of linking, presence and reference frames, shared among processes."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from video_cuts import KINDS, cut_clip
from video_records import Record, records

from instructseg.data.readers.davis2016 import Davis2016
from instructseg.evaluation.provenance import hash_files, machine, versions
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.inference.segmenter import Segmenter
from instructseg.synthesis.validation_clips import ValidationClips
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.recipe import load_recipe
from instructseg.types import Sample

ROOT = Path(__file__).parents[1]
COMPOSED, DAVIS = "composed", "davis2016"


@dataclass(frozen=True)
class Job:
    """One clip of a source: "composed", "davis2016", or a kind of cut; `references` None: the model's rule."""

    source: str
    index: int
    references: str | None = None


class Worker:
    """Model and clips, each opened once in a process when first needed."""

    def __init__(self, given: argparse.Namespace):
        self.given = given

    @cached_property
    def segmenter(self) -> Segmenter:
        return Segmenter.load(self.given.model, device="cpu")

    @cached_property
    def composed(self) -> ValidationClips:
        recipe = load_recipe(self.given.recipe, [f"data.root={self.given.data}"]).data
        photos, size = open_photos(recipe, validation=True), compose_config(recipe).size
        return ValidationClips(photos, self.given.clips, size, self.given.seed)

    @cached_property
    def davis(self) -> dict[str, Sample]:
        """Sequences by name, those of "val" first."""
        splits = [Davis2016(self.given.data / "davis2016", split) for split in ("val", "train")]
        return {sample.id.split("/")[-1]: sample for split in splits for sample in split}

    def do(self, job: Job) -> list[Record]:
        if job.source == COMPOSED:
            return records(self.segmenter, self.composed[job.index], job.references, 1)
        if job.source == DAVIS:
            sample = list(self.davis.values())[job.index]
            return records(self.segmenter, sample, job.references, self.given.every)
        return records(self.segmenter, cut_clip(self.davis, job.index, job.source), job.references, 1)


def parser(about: str, seed: int) -> argparse.ArgumentParser:
    """What these benchmarks have in common; composed clips are taken whole, of DAVIS every n-th frame.

    A benchmark sets `davis` and `cuts`: which halves of the sequences are taken as they are and with cuts, 0 (the
    first, third, ...) and 1.
    """
    found = argparse.ArgumentParser(description=about.splitlines()[0])
    found.add_argument("--data", type=Path, required=True, help="the folder with davis2016 and the recipe's photos")
    found.add_argument("--model", default="nano")
    found.add_argument("--recipe", type=Path, default=ROOT / "src" / "instructseg" / "recipes" / "nano.yaml")
    found.add_argument("--clips", type=int, default=40, help="composed clips, their kinds in turn")
    found.add_argument("--seed", type=int, default=seed, help="of the composed clips")
    found.add_argument("--sequences", type=int, help="at most so many of DAVIS; 0: none")
    found.add_argument("--every", type=int, default=3, help="take every n-th frame of DAVIS")
    found.add_argument("--jobs", type=int, default=1, help="processes that share the clips, of one thread each")
    found.set_defaults(davis=(0, 1), cuts=())
    return found


def jobs(given: argparse.Namespace, references: Sequence[str | None] = (None,)) -> list[Job]:
    """Every clip that is asked for, with each rule for reference frames."""
    clips = [(COMPOSED, index) for index in range(given.clips)]
    if given.sequences != 0:
        places = range(len(Worker(given).davis))[: given.sequences]
        for sources, halves in (((DAVIS,), given.davis), (KINDS, given.cuts)):
            clips += [(source, place) for source in sources for place in places if place % 2 in halves]
    return [Job(*clip, rule) for clip in clips for rule in references]


def run(given: argparse.Namespace, wanted: Sequence[Job]) -> dict[Job, list[Record]]:
    """The records of every job, in the order of `wanted` whatever process was first."""
    start, done = time.perf_counter(), {}
    with multiprocessing.get_context("spawn").Pool(given.jobs, _begin, (given,)) as pool:
        for job, found in pool.imap(_do, wanted):
            done[job] = found
            print(f"{len(done)} of {len(wanted)}, {time.perf_counter() - start:.0f} s: {found[0].clip}", flush=True)
    return done


def split_sources(done: dict[Job, list[Record]]) -> dict[str, list[Record]]:
    """The records of composed clips, of DAVIS, and of clips with a cut."""
    groups: dict[str, list[Record]] = {"composed clips": [], "davis2016": [], "cuts": []}
    for job, found in done.items():
        name = {COMPOSED: "composed clips", DAVIS: "davis2016"}.get(job.source, "cuts")
        groups[name] += found
    return groups


def write(given: argparse.Namespace, name: str, results: dict[str, object]) -> None:
    """docs/results/<name>.json: what it was measured with, and the results."""
    folder = Path(find_checkpoint(given.model))
    files = [path for name in ("*.safetensors", "*.json") for path in folder.glob(name)]
    sequences = "all" if given.sequences is None else given.sequences
    facts = {
        "model": {"name": given.model, "hash": hash_files(files, folder)},
        "composed clips": {"clips": given.clips, "seed": given.seed},
        "davis2016 frames": {"every": given.every, "sequences": sequences},
        "processes of one thread": given.jobs, "machine": machine().split(",")[0], "versions": versions(),
    }  # fmt: skip
    output = ROOT / "docs" / "results" / f"{name}.json"
    output.write_text(json.dumps(facts | results, indent=1) + "\n")
    print(f"written to {output}")


_WORKER: Worker


def _begin(given: argparse.Namespace) -> None:
    global _WORKER
    torch.set_num_threads(1)
    _WORKER = Worker(given)


def _do(job: Job) -> tuple[Job, list[Record]]:
    return job, _WORKER.do(job)
