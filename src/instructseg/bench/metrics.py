"""`instructseg bench metrics`: J and F against the usual toolkit's way, on masks of the size of DAVIS's 480p frames."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from instructseg.bench.options import Options, Report, failures_recorded
from instructseg.bench.timing import spread
from instructseg.metrics import frame_scores, pairwise_scores

SIZE = (480, 854)
PAIRS, MATCHINGS, MATCHED = 100, 20, 3
REPEATS = 3
Scores = tuple[float, float]
Dilate = Callable[[np.ndarray, np.ndarray], np.ndarray]


def usual_disk(radius: int) -> np.ndarray:
    side = np.arange(-radius, radius + 1)
    return (side[:, None] ** 2 + side[None] ** 2 <= radius**2).astype(np.uint8)


def cv2_dilate(boundary: np.ndarray, disk: np.ndarray) -> np.ndarray:
    return cv2.dilate(boundary.astype(np.uint8), disk).astype(bool)


def usual_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels unlike their right, lower or lower-right neighbour, by three shifted copies of the whole frame."""
    right, below, diagonal = (np.zeros_like(mask) for _ in range(3))
    right[:, :-1], below[:-1], diagonal[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    boundary = (mask ^ right) | (mask ^ below) | (mask ^ diagonal)
    boundary[-1], boundary[:, -1] = mask[-1] ^ right[-1], mask[:, -1] ^ below[:, -1]
    boundary[-1, -1] = False
    return boundary


def usual_scores(pred: np.ndarray, gt: np.ndarray, dilate: Dilate = cv2_dilate) -> Scores:
    """J and F of one pair, everything on whole frames."""
    joined = np.sum(pred | gt)
    similarity = np.sum(pred & gt) / joined if joined else 1.0
    disk = usual_disk(math.ceil(0.008 * np.linalg.norm(pred.shape)))
    mine, theirs = usual_boundary(pred), usual_boundary(gt)
    near_mine, near_theirs = dilate(mine, disk), dilate(theirs, disk)
    found, wanted = np.sum(mine), np.sum(theirs)
    if found == 0 or wanted == 0:
        return float(similarity), float(found == wanted)
    precision, recall = np.sum(mine & near_theirs) / found, np.sum(theirs & near_mine) / wanted
    total = precision + recall
    return float(similarity), float(2 * precision * recall / total) if total else 0.0


def usual_matrix(preds: np.ndarray, gts: np.ndarray) -> np.ndarray:
    return np.array([[usual_scores(pred, gt) for pred in preds] for gt in gts]).transpose(2, 0, 1)


def masks(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Blobs with ragged outlines: smoothed noise above a threshold, inside an ellipse."""
    found = []
    for _ in range(count):
        noise = cv2.GaussianBlur(rng.standard_normal(SIZE), (0, 0), 12)
        ellipse = np.zeros(SIZE, np.uint8)
        centre = (int(rng.integers(200, 650)), int(rng.integers(120, 360)))
        axes = (int(rng.integers(40, 180)), int(rng.integers(40, 110)))
        cv2.ellipse(ellipse, centre, axes, float(rng.integers(180)), 0, 360, 1, -1)
        found.append((ellipse > 0) & (noise > -0.5 * noise.std()))
    return found


def run(options: Options, pairs: int = PAIRS, matchings: int = MATCHINGS) -> Report:
    """Write bench_metrics.json."""
    rng = np.random.default_rng(options.seed)
    truths = masks(pairs, rng)
    preds = [np.roll(mask, tuple(rng.integers(-6, 7, 2)), (0, 1)) for mask in truths]
    report = Report("metrics", options, seed=options.seed, frame_size=list(SIZE), samples=pairs, best_of=REPEATS)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with failures_recorded(report, "one pair"):
            report.section("one pair", paired(list(zip(preds, truths, strict=True)), usual_scores, frame_scores))
        cases = [tuple(np.stack(chosen) for chosen in choose(preds, truths, rng)) for _ in range(matchings)]
        with failures_recorded(report, "three objects by three proposals"):
            report.section("three objects by three proposals", paired(cases, usual_matrix, pairwise_scores))
    finally:
        cv2.setNumThreads(threads)
    return report


def choose(preds: list[np.ndarray], truths: list[np.ndarray], rng: np.random.Generator) -> tuple[list, list]:
    """Three proposals and their objects."""
    places = rng.choice(len(preds), MATCHED, replace=len(preds) < MATCHED)
    return [preds[place] for place in places], [truths[place] for place in places]


def paired(cases: Sequence[tuple], usual: Callable, ours: Callable, repeats: int = REPEATS) -> dict[str, Any]:
    """Processor time of both on every case in turns, the first to run changing each time; and how values differ."""
    ratios: list[float] = []
    times: dict[str, list[float]] = {"usual": [], "ours": []}
    largest = 0.0
    for index, case in enumerate(cases):
        sides = [("usual", usual), ("ours", ours)][:: 1 if index % 2 else -1]
        found, best = {}, {}
        for _ in range(repeats):
            for name, function in sides:
                start = time.process_time()
                found[name] = function(*case)
                best[name] = min(best.get(name, math.inf), time.process_time() - start)
        largest = max(largest, float(np.abs(np.asarray(found["usual"]) - np.asarray(found["ours"])).max()))
        ratios.append(best["usual"] / max(best["ours"], 1e-9))
        for name, seconds in best.items():
            times[name].append(seconds)
    spreads = {name: spread(values) for name, values in times.items()}
    return spreads | {"usual / ours": spread(ratios), "cases": len(cases), "largest difference of values": largest}
