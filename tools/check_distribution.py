"""Check the files of a release: their size, what the wheel has, and that the index's description has no dead link.

    python tools/check_distribution.py dist

One line per file; exit code 1 if one of them is not fit to publish.
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

MAX_BYTES = 60_000_000
NEEDED = ("py.typed", "weights/nano/config.json", "recipes/finetune.yaml", "examples/camera.jpg", "serve/server.py")
RELATIVE_LINK = re.compile(r"\]\((?!https?:|#)([^)]*)\)")


def main() -> None:
    files = sorted(path for path in Path(sys.argv[1]).iterdir() if path.suffix in (".whl", ".gz"))
    problems = [problem for path in files for problem in check(path)]
    if {path.suffix for path in files} != {".whl", ".gz"}:
        problems.append(f"expected a wheel and an sdist, got {[path.name for path in files]}; run: python -m build")
    print("\n".join(problems), file=sys.stderr)
    sys.exit(1 if problems else 0)


def check(path: Path) -> list[str]:
    """What is wrong with a file."""
    size = path.stat().st_size
    print(f"{path.name}: {size / 1e6:.1f} MB")
    problems = [] if size <= MAX_BYTES else [f"{path.name}: expected at most 60 MB, got {size / 1e6:.1f} MB"]
    return problems + (check_wheel(path) if path.suffix == ".whl" else [])


def check_wheel(path: Path) -> list[str]:
    """What is wrong with a wheel's content."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        metadata = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    description = metadata.partition("\n\n")[2]
    missing = [name for name in NEEDED if f"instructseg/{name}" not in names]
    outside = sorted({name.split("/")[0] for name in names if not name.startswith("instructseg")})
    return [
        *(f"{path.name}: expected {name}, which is missing" for name in missing),
        *(f"{path.name}: expected only the package, got {name}" for name in outside),
        *(f"{path.name}: the index cannot follow {link}" for link in RELATIVE_LINK.findall(description)),
    ]


if __name__ == "__main__":
    main()
