"""DAVIS's official OSVOS scores from its official masks: every frame of 2016, every sequence of 2017.

    python -m benchmarks.scores.davis_official --data DATA

DATA holds davis2016/ and davis_official_results/ (masks and scores that davisvideochallenge.org published). Exit
code 1 when a score differs by more than its rounding.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg.data.readers.frames import read_binary, read_labels
from instructseg.metrics import ObjectScores, clip_scores

MODULE = "benchmarks.scores.davis_official"
FRAME_ROUNDING, SEQUENCE_ROUNDING = 0.0005, 0.00005
GLOBAL = ("J", "J_recall", "J_decay", "F", "F_recall", "F_decay")
FLOAT_SLACK = 1e-9


def score_sequences(truths: Path, predictions: Path, binary: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """J and F by sequence, of the frames between the first (which OSVOS was given) and the last."""
    scores = {}
    for folder in sorted(truths.iterdir()):
        if (predictions / folder.name).is_dir():
            names = sorted(path.name for path in folder.glob("*.png"))[1:-1]
            read = read_binary if binary else lambda path: read_labels(path) == 1
            answers = [read(predictions / folder.name / name) for name in names]
            scores[folder.name] = clip_scores(answers, [read_binary(folder / name) for name in names])
    return scores


def outcome(sequences: dict[str, dict], lacking: list[str], worst: float, allowed: float) -> dict:
    """The report of one year: every sequence, and whether the largest difference stays within the rounding."""
    return {
        "sequences": len(sequences),
        "frames": sum(sequence["frames"] for sequence in sequences.values()),
        "without_true_masks_here": lacking,
        "largest_error": round(worst, 6),
        "allowed": allowed,
        "equal": worst <= allowed + FLOAT_SLACK,
        "by_sequence": sequences,
    }


def of_2016(data: Path) -> dict:
    """Each frame against the published three decimals."""
    folder = data / "davis_official_results" / "2016"
    published = json.loads((folder / "osvos_davis.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as masks:
        zipfile.ZipFile(folder / "osvos.zip").extractall(masks)
        scores = score_sequences(data / "davis2016" / "Annotations" / "480p", Path(masks), binary=True)
        lacking = sorted({path.name for path in Path(masks).iterdir() if path.name in published} - scores.keys())
    sequences, worst = {}, 0.0
    for name, both in scores.items():
        expected = [np.array(published[name][score], float) for score in "JF"]
        errors = [float(np.abs(ours - theirs).max()) for ours, theirs in zip(both, expected, strict=True)]
        worst = max(worst, *errors)
        sequences[name] = {"frames": len(both[0]), "largest_error_J": round(errors[0], 6),
                           "largest_error_F": round(errors[1], 6)}  # fmt: skip
    return outcome(sequences, lacking, worst, FRAME_ROUNDING)


def of_2017(data: Path) -> dict:
    """The mean of each sequence with one object against the published four decimals."""
    folder = data / "davis_official_results" / "2017"
    published = json.loads((folder / "osvos_davis.json").read_text(encoding="utf-8"))
    scores = score_sequences(data / "davis2016" / "Annotations" / "480p", folder / "osvos", binary=False)
    lacking = sorted({path.name for path in (folder / "osvos").iterdir()} - scores.keys())
    sequences, worst = {}, 0.0
    for name, both in scores.items():
        ours = {score: float(values.mean()) for score, values in zip("JF", both, strict=True)}
        expected = {score: float(published[f"{name}_1"][score]) for score in "JF"}
        worst = max(worst, *(abs(ours[score] - expected[score]) for score in "JF"))
        sequences[name] = {"frames": len(both[0]), "ours": {score: round(ours[score], 6) for score in "JF"},
                           "official": expected}  # fmt: skip
    return outcome(sequences, lacking, worst, SEQUENCE_ROUNDING)


def summary(data: Path) -> dict:
    """The published global figures of all 20 sequences from the published scores of their frames.

    Masks of six sequences are not there, so this checks mean, recall and decay alone. The frames' scores have three
    decimals: a frame at 0.5 may fall on either side.
    """
    published = json.loads((data / "davis_official_results" / "2016" / "osvos_davis.json").read_text(encoding="utf-8"))
    expected = json.loads((data / "EXPECTED_METRICS.json").read_text(encoding="utf-8"))["davis2016_val"]["osvos"]
    scores = ObjectScores()
    for name, both in published.items():
        if name != "id":
            scores.update(name, *(np.array(both[score], float) for score in "JF"))
    table = scores.compute()
    official = dict(zip(GLOBAL, [*expected["J"], *expected["F"]], strict=True))
    worst = max(abs(table[name] - value) for name, value in official.items())
    return {
        "sequences": table["count"],
        "ours": {name: round(table[name], 5) for name in GLOBAL},
        "official": official,
        "largest_error": round(worst, 5),
        "allowed": 2 * FRAME_ROUNDING,
        "equal": worst <= 2 * FRAME_ROUNDING,
    }


def main() -> None:
    options = make_parser(__doc__, "davis_official.json", data=True).parse_args()
    start, parts = time.perf_counter(), {}
    result = ResultFile(options.output, provenance(MODULE, options, method="OSVOS"))
    checks = {"davis2016_frames": of_2016, "davis2017_sequences": of_2017, "davis2016_global": summary}
    for name, check in checks.items():
        parts[name] = part = check(options.data)
        result.update({name: part})
        print(f"{name}: {part['sequences']} sequences, largest error {part['largest_error']}, equal: {part['equal']}")
    result.add(seconds=round(time.perf_counter() - start, 1))
    sys.exit(not all(part["equal"] for part in parts.values()))


if __name__ == "__main__":
    main()
