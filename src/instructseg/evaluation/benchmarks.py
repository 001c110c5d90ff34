"""The catalogue of benchmarks: every row of the paper's Tables 2-5, variants with other protocols, and our own.

The paper's scores are percentages, as printed for InstructSeg-3B.
"""

from __future__ import annotations

import difflib
import textwrap
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from instructseg.errors import InputError

RES_PROTOCOL = "one mask per expression; the paper's score was measured on joined sentences"
JOINED_PROTOCOL = (
    "as released: all sentences of an object joined into one instruction, truth drawn by cv2.fillPoly on integer "
    "coordinates"
)
RES_METRICS = ("ciou", "giou", "p@0.5")
CLIP_METRICS = ("J&F", "J", "F")
LINE_WIDTH, NAME_WIDTH = 110, 29
"""Characters of a line of the printed catalogue, and of the column of names."""
COMPOSED = ("templated", "composed_clips")
"""Datasets composed from the held-out photos of a recipe; all others are in `data.catalogue`."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its data, how it is scored, and what the paper reports.

    name: "<dataset>/<split>", with a suffix for another protocol.
    dataset, split: which samples.
    scorer: a key of `evaluation.scoring.SCORERS`.
    metrics: the scores shown in tables; the scorer may compute more.
    protocol: a short description of how it is scored.
    paper: the paper's scores in percent, by metric.
    source: the table of the paper with these scores.
    options: keyword arguments of the dataset's reader.
    server: the submission format of the benchmark's server (`evaluation.submission`), for splits whose ground truth is
        not public; "" for other splits.
    """

    name: str
    dataset: str
    split: str
    scorer: str
    metrics: tuple[str, ...]
    protocol: str
    paper: Mapping[str, float] = field(default_factory=dict)
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    server: str = ""


def _res() -> list[Benchmark]:
    figures = {
        "refcoco": {"val": 85.8, "testA": 86.6, "testB": 84.0},
        "refcoco+": {"val": 80.1, "testA": 83.8, "testB": 75.6},
        "refcocog": {"val": 79.3, "test": 80.3},
    }
    joined = {"joined": True, "released_masks": True}
    protocols = (("", "region", RES_PROTOCOL, {}), ("-joined", "released_region", JOINED_PROTOCOL, joined))
    return [
        Benchmark(
            f"{dataset}{suffix}/{split}", dataset, split, scorer, RES_METRICS, protocol, {"ciou": figure},
            "Table 2", options,
        )
        for dataset, splits in figures.items()
        for suffix, scorer, protocol, options in protocols
        for split, figure in splits.items()
    ]  # fmt: skip


def _reason_seg() -> list[Benchmark]:
    protocol = "one mask per photo, for its first sentence; ignore regions are not scored (LISA)"
    released = "as released: the first sentence; ignore regions count as background"
    scores, paper = ("giou", "ciou"), {"giou": 61.9, "ciou": 65.2}
    return [
        Benchmark("reason_seg/val", "reason_seg", "val", "region", scores, protocol, paper, "Table 2"),
        Benchmark(
            "reason_seg-released/val", "reason_seg", "val", "released_region", scores, released, paper, "Table 2",
            {"with_ignore": False},
        ),
        Benchmark("reason_seg/test", "reason_seg", "test", "region", scores, protocol),
    ]  # fmt: skip


def _clips() -> list[Benchmark]:
    revos = {
        "referring": (57.0, 54.8, 59.2),
        "reasoning": (51.9, 49.2, 54.7),
        "overall": (54.5, 52.0, 56.9),
    }
    flat = {f"{part}/{key}": value for part, row in revos.items() for key, value in zip(CLIP_METRICS, row, strict=True)}
    server = "masks as PNG and the zip for the benchmark's server; the ground truth is not public"
    return [
        Benchmark(
            "revos/valid", "revos", "valid", "revos", (*flat, "overall/R"),
            "mean over expressions of J and F over all frames; overall = mean of referring and reasoning", flat,
            "Table 3",
        ),
        Benchmark(
            "ref_youtube_vos/valid", "ref_youtube_vos", "valid", "clip", CLIP_METRICS, server,
            {"J&F": 67.5, "J": 65.4, "F": 69.5}, "Table 4", server="ref_youtube_vos",
        ),
        Benchmark(
            "ref_davis/valid", "ref_davis", "valid", "ref_davis", CLIP_METRICS,
            "mean over 4 annotators of DAVIS 2017's unsupervised scores; the released evaluator uses one annotator",
            {"J&F": 71.1, "J": 67.3, "F": 74.9}, "Table 4",
        ),
        Benchmark("mevis/valid_u", "mevis", "valid_u", "clip", CLIP_METRICS, "mean over expressions of J and F"),
        Benchmark("mevis/valid", "mevis", "valid", "clip", CLIP_METRICS, server, server="mevis"),
    ]  # fmt: skip


def _questions() -> list[Benchmark]:
    rows = {
        "vqav2": ("test-dev", "accuracy", 79.0, "answers for the benchmark's server; the ground truth is not public"),
        "mmbench": ("dev", "accuracy", 68.6, "circular evaluation: correct under every rotation of the choices"),
        "gqa": ("testdev_balanced", "accuracy", 62.3, "exact match in lower case, without a final full stop"),
        "pope": ("coco", "f1", 87.0, "yes or no in the first sentence; F1, mean over random, popular and adversarial"),
        "science_qa": ("test", "accuracy", 69.2, "letter of the correct choice; questions with an image (SQA-IMG)"),
    }
    more = {"vqav2": {"server": "vqav2"}, "science_qa": {"options": {"images_only": True}}}
    local = "soft accuracy over 10 human answers in the official normal form; the paper's score is of test-dev"
    return [
        *(
            Benchmark(
                f"{name}/{split}", name, split, name, (metric,), protocol, {metric: figure}, "Table 5",
                **more.get(name, {}),
            )
            for name, (split, metric, figure, protocol) in rows.items()
        ),
        Benchmark("vqav2/val", "vqav2", "val", "vqav2", ("accuracy",), local, {"accuracy": 79.0}, "Table 5"),
    ]  # fmt: skip


def _own() -> list[Benchmark]:
    return [
        Benchmark(
            "templated/val", "templated", "val", "region", ("giou", "ciou", "p@0.5", "n_acc"),
            "held-out photos of a recipe with composed instructions, some of which name an absent object",
        ),
        Benchmark(
            "composed_clips/val", "composed_clips", "val", "clip",
            (*CLIP_METRICS, *(f"{kind}/J&F" for kind in ("apart", "crossing", "entering", "leaving", "covered"))),
            "clips composed of held-out photos of a recipe: two similar objects move apart or cross, one enters, "
            "leaves or is covered; mean over expressions of J and F over all frames",
        ),
        Benchmark(
            "davis2016/val", "davis2016", "val", "clip", CLIP_METRICS,
            "human-written sentences about DAVIS-2016 clips; mean over expressions of J and F over all frames",
        ),
    ]  # fmt: skip


BENCHMARKS: dict[str, Benchmark] = {
    row.name: row for rows in (_res(), _reason_seg(), _clips(), _questions(), _own()) for row in rows
}


def choose_benchmarks(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, in the given order, each once. Raises InputError for an unknown name."""
    for name in names:
        if name not in BENCHMARKS:
            near = difflib.get_close_matches(name, BENCHMARKS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "see instructseg evaluate --list"
            raise InputError(f"unknown benchmark {name!r}; {hint}")
    return [BENCHMARKS[name] for name in dict.fromkeys(names)]


def catalogue() -> str:
    """The benchmarks as text: grouped by protocol, one line per benchmark with its scores and the paper's."""
    groups: dict[str, list[Benchmark]] = defaultdict(list)
    for benchmark in BENCHMARKS.values():
        groups[f"{benchmark.source or 'Not in the paper'}: {benchmark.protocol}."].append(benchmark)
    lines = ["Benchmarks and their scores; in brackets the paper's score of InstructSeg-3B in percent."]
    for heading, group in groups.items():
        lines += [
            "",
            *textwrap.wrap(heading, LINE_WIDTH),
            *(line for benchmark in group for line in _describe(benchmark)),
        ]
    return "\n".join(lines)


def _describe(benchmark: Benchmark) -> list[str]:
    """The name and the scores, those of the paper in brackets; long lists continue on indented lines."""
    paper = {name: f" ({score})" for name, score in benchmark.paper.items()}
    scores = ", ".join(name + paper.get(name, "").replace(" ", "~") for name in benchmark.metrics)
    first, *rest = (line.replace("~", " ") for line in textwrap.wrap(scores, LINE_WIDTH - NAME_WIDTH))
    return [f"  {benchmark.name:{NAME_WIDTH - 2}}{first}", *(" " * NAME_WIDTH + line for line in rest)]
