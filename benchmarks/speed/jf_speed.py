"""How much faster J and F are than the usual toolkit's way, on real masks of 480 rows, and that the values are equal.

    taskset -c 1 python -m benchmarks.speed.jf_speed --data DATA

DATA holds davis2016/ and davis_official_results/. Pairs are OSVOS's official masks and the true ones. For matching,
three true masks of one frame each of three sequences (taken as objects of one frame) meet the three masks OSVOS made
for them. The usual way is written here as plainly as toolkits have it: boundary maps of the whole frame, a disk, two
dilations of the whole frame for every pair. It runs with cv2.dilate (as davis2017-evaluation does) and, on some
frames, with scikit-image's dilation of booleans (as the first DAVIS toolkit did) where that is installed. Both sides
take turns on every frame, one thread each; decoding is not timed. Times are processor time, since other work may
share the core.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import ResultFile, make_parser, provenance
from instructseg.bench.metrics import Dilate, paired, usual_matrix, usual_scores
from instructseg.data.readers.frames import read_binary
from instructseg.metrics import frame_scores, pairwise_scores

MODULE = "benchmarks.speed.jf_speed"
SEED = 0
BEST_OF = 5
MATCHED = 3


def skimage_dilate() -> Dilate | None:
    try:
        from skimage.morphology import binary_dilation  # pyright: ignore[reportMissingImports] optional
    except ImportError:
        return None
    warnings.filterwarnings("ignore", category=FutureWarning)
    return binary_dilation


def real_pairs(data: Path) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """(OSVOS's mask, true mask) of every frame of each sequence that has both."""
    truths = data / "davis2016" / "Annotations" / "480p"
    with tempfile.TemporaryDirectory() as masks:
        zipfile.ZipFile(data / "davis_official_results" / "2016" / "osvos.zip").extractall(masks)
        folders = [folder for folder in sorted(truths.iterdir()) if (Path(masks) / folder.name).is_dir()]
        return {
            folder.name: [
                (read_binary(Path(masks) / folder.name / path.name), read_binary(path))
                for path in sorted(folder.glob("*.png"))
            ]
            for folder in folders
        }


def matching_cases(pairs: dict[str, list], count: int, rng: np.random.Generator) -> list[tuple]:
    """Stacks of three proposals and three objects, from one frame of three sequences each."""
    cases = []
    for _ in range(count):
        names = rng.choice(sorted(pairs), MATCHED, replace=False)
        chosen = [pairs[name][rng.integers(len(pairs[name]))] for name in names]
        cases.append(tuple(np.stack([pair[side] for pair in chosen]) for side in (0, 1)))
    return cases


def main() -> None:
    parser = make_parser(__doc__, "jf_speed.json", data=True)
    parser.add_argument("--matchings", type=int, default=100, help="number of matching problems (default: 100)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    rng = np.random.default_rng(SEED)
    pairs = real_pairs(options.data)
    frames = [pair for sequence in pairs.values() for pair in sequence]
    facts = provenance(MODULE, options, seed=SEED, samples=len(frames)) | {
        "machine": processor(), "best_of": BEST_OF, "frame_size": list(frames[0][0].shape), "sequences": len(pairs)
    }  # fmt: skip
    result = ResultFile(options.output, facts)
    parts = {"one_pair": paired(frames, usual_scores, frame_scores, BEST_OF)}
    result.update(parts)
    cases = matching_cases(pairs, options.matchings, rng)
    parts["three_objects_by_three_proposals"] = paired(cases, usual_matrix, pairwise_scores, BEST_OF)
    result.update(parts)
    dilate = skimage_dilate()
    if dilate is not None:
        some = [frames[index] for index in rng.choice(len(frames), 10, replace=False)]
        usual = lambda pred, gt: usual_scores(pred, gt, dilate)  # noqa: E731
        parts["one_pair_by_scikit_image"] = paired(some, usual, frame_scores, BEST_OF)
        result.update(parts)
    print(json.dumps(result.content, indent=1))
    ratios = {name: part["usual / ours"]["median"] for name, part in parts.items()}
    fast = ratios["one_pair"] >= 4 and ratios["three_objects_by_three_proposals"] >= 10
    sys.exit(not (fast and all(part["largest difference of values"] < 1e-12 for part in parts.values())))


def processor() -> dict:
    """The processor's name and the versions that matter for its speed."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores_used": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


if __name__ == "__main__":
    main()
