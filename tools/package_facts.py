"""What is published, as numbers: the sizes of the built files, and the versions that resolve for each Python.

    python -m build && python -m tools.package_facts dist     (needs uv; writes docs/results/package.json)

Each set of versions is resolved from wheels alone, with all extras, and nothing is installed. `lowest` is
constraints-lowest.txt, which has the minima of the extras data and serve only. Exit code 1 if a set does not resolve.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import RESULTS, ROOT, ResultFile
from instructseg.bench.results import commit

PYTHONS = ("3.11.5", "3.12", "3.13", "3.14")  # the extra docs needs 3.11.5
SETS = {
    "pinned": ["--all-extras", "--constraint", "constraints.txt"],
    "newest": ["--all-extras"],
    "lowest": ["--extra", "data", "--extra", "serve", "--constraint", "constraints-lowest.txt"],
}
LOWEST_PYTHONS = PYTHONS[:1]
"""The oldest versions have no wheels for newer Pythons."""
SHOWN = ("torch", "transformers", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path, nargs="?", help="the folder with the wheel and the sdist")
    parser.add_argument("--output", type=Path, default=RESULTS / "package.json")
    options = parser.parse_args()
    files = sorted(options.dist.iterdir()) if options.dist else []
    sizes = {"wheel" if path.suffix == ".whl" else "sdist": path.stat().st_size / 1e6 for path in files}
    result = ResultFile(options.output, {"command": "python -m tools.package_facts DIST", "commit": commit()}, digits=1)
    result.add(megabytes=sizes, resolved=(rows := []))
    for python in PYTHONS:
        for name in SETS:
            if name != "lowest" or python in LOWEST_PYTHONS:
                rows.append({"python": python, "versions": name, **resolve(python, SETS[name])})
                result.add(resolved=rows)
                print(rows[-1], flush=True)
    sys.exit(any("error" in row for row in rows))


def resolve(python: str, arguments: list[str]) -> dict[str, object]:
    """The number of packages and the versions of `SHOWN`, or the error."""
    words = ["uv", "pip", "compile", "pyproject.toml", *arguments, "--only-binary", ":all:", "--python-version", python]
    words += ["--no-header", "--no-annotate", "--quiet"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip()}
    pins = dict(line.split(" ")[0].split("==") for line in done.stdout.splitlines() if "==" in line)
    return {"packages": len(pins), **{name: pins[name] for name in SHOWN}}


if __name__ == "__main__":
    main()
