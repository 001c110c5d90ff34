"""Clips with ground truth for the benchmarks of linking, presence and reference frames, shared among processes."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from benchmarks.harness import ResultFile, make_parser, provenance
from benchmarks.video.clip_traces import ExpressionTrace, trace_clip
from benchmarks.video.cut_clips import KINDS, cut_clip
from instructseg.data.readers.davis2016 import Davis2016
from instructseg.evaluation.provenance import hash_model, machine
from instructseg.inference.checkpoints import find_checkpoint
from instructseg.inference.segmenter import Segmenter
from instructseg.synthesis.validation_clips import ValidationClips
from instructseg.training.data.photos import compose_config, open_photos
from instructseg.training.recipe import load_recipe
from instructseg.types import ReferencePolicy, Sample

COMPOSED, DAVIS = "composed", "davis2016"


@dataclass(frozen=True)
class ClipJob:
    """One clip of a source: "composed", "davis2016", or a kind of cut; `references` None takes the model's rule."""

    source: str
    index: int
    references: ReferencePolicy | None = None


class Worker:
    """Model and clips of one process, each opened when first needed."""

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

    def do(self, job: ClipJob) -> list[ExpressionTrace]:
        if job.source == COMPOSED:
            return trace_clip(self.segmenter, self.composed[job.index], job.references, 1)
        if job.source == DAVIS:
            sample = list(self.davis.values())[job.index]
            return trace_clip(self.segmenter, sample, job.references, self.given.every)
        return trace_clip(self.segmenter, cut_clip(self.davis, job.index, job.source), job.references, 1)


def make_clip_parser(about: str | None, output: str, seed: int) -> argparse.ArgumentParser:
    """The arguments of these benchmarks; composed clips are taken whole, of DAVIS every n-th frame.

    A benchmark sets `davis` and `cuts`: which halves of the sequences are taken as they are and with cuts, 0 (the
    first, third, ...) and 1.
    """
    parser = make_parser(about, output, data=True, model=True, recipe=True)
    parser.add_argument("--clips", type=int, default=40, help="number of composed clips, their kinds in turn (40)")
    parser.add_argument("--seed", type=int, default=seed, help="seed of the composed clips")
    parser.add_argument("--sequences", type=int, help="maximum number of DAVIS sequences; 0: none (default: all)")
    parser.add_argument("--every", type=int, default=3, help="take every n-th frame of DAVIS (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread that share the clips (default: 1)")
    parser.set_defaults(davis=(0, 1), cuts=())
    return parser


def make_jobs(given: argparse.Namespace, references: Sequence[ReferencePolicy | None] = (None,)) -> list[ClipJob]:
    """Every chosen clip, with each rule for reference frames."""
    clips = [(COMPOSED, index) for index in range(given.clips)]
    if given.sequences != 0:
        places = range(len(Worker(given).davis))[: given.sequences]
        for sources, halves in (((DAVIS,), given.davis), (KINDS, given.cuts)):
            clips += [(source, place) for source in sources for place in places if place % 2 in halves]
    return [ClipJob(*clip, rule) for clip in clips for rule in references]


def run_jobs(given: argparse.Namespace, clip_jobs: Sequence[ClipJob]) -> dict[ClipJob, list[ExpressionTrace]]:
    """The traces of every job, in the order of `clip_jobs` whichever process was first."""
    start, done = time.perf_counter(), {}
    with multiprocessing.get_context("spawn").Pool(given.jobs, _begin, (given,)) as pool:
        for job, found in pool.imap(_do, clip_jobs):
            done[job] = found
            print(f"{len(done)} of {len(clip_jobs)}, {time.perf_counter() - start:.0f} s: {found[0].clip}", flush=True)
    return done


def split_sources(done: dict[ClipJob, list[ExpressionTrace]]) -> dict[str, list[ExpressionTrace]]:
    """The traces of composed clips, of DAVIS, and of clips with a cut."""
    groups: dict[str, list[ExpressionTrace]] = {"composed clips": [], "davis2016": [], "cuts": []}
    for job, found in done.items():
        name = {COMPOSED: "composed clips", DAVIS: "davis2016"}.get(job.source, "cuts")
        groups[name] += found
    return groups


def open_result(given: argparse.Namespace, module: str) -> ResultFile:
    """The result file with the facts: model, clips, processes."""
    sequences = "all" if given.sequences is None else given.sequences
    facts = provenance(module, given, seed=given.seed) | {
        "model": {"name": given.model, "hash": hash_model(Path(find_checkpoint(given.model)))},
        "composed clips": {"clips": given.clips, "seed": given.seed},
        "davis2016 frames": {"every": given.every, "sequences": sequences},
        "processes of one thread": given.jobs, "machine": machine().split(",")[0],
    }  # fmt: skip
    return ResultFile(given.output, facts)


_WORKER: Worker


def _begin(given: argparse.Namespace) -> None:
    global _WORKER
    torch.set_num_threads(1)
    _WORKER = Worker(given)


def _do(job: ClipJob) -> tuple[ClipJob, list[ExpressionTrace]]:
    return job, _WORKER.do(job)
