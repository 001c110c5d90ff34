"""Which package may import which, and how light `import instructseg` is: docs/architecture.md, held by a test."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import instructseg

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "src" / "instructseg"

# Package or module -> those it may import besides itself. A dotted name is a subpackage with rules of its own. One
# that is not in the table fails the test: give it a row.
BASE = {"types", "errors", "prompts", "threads", "_version"}
MIDDLE = BASE | {
    "model", "media", "visualization", "data", "synthesis", "metrics", "conversion", "inference",
}  # fmt: skip
TOP = {"cli", "commands", "__main__"}
ROOMS = {
    "_version": set(),
    "auto_classes": set(),
    "types": set(),
    "errors": set(),
    "threads": set(),
    "prompts": {"types"},
    "model": BASE,
    "media": BASE,
    "visualization": BASE | {"media"},
    "data": {"media", "types", "errors", "synthesis"},
    "synthesis": {"media", "types", "errors"},
    "metrics": {"media", "types", "errors"},
    "conversion": BASE | {"model", "media"},
    "verification": BASE | {"model", "media", "conversion", "metrics"},
    "inference": BASE | {"model", "media", "visualization", "conversion"},
    "evaluation": MIDDLE,
    "evaluation.api": MIDDLE | {"training", "evaluation", "bulk"},
    "training": MIDDLE,
    "annotations": {"media", "errors", "inference"},
    "agents": {"media", "errors", "inference", "_version"},
    "bulk": MIDDLE | {"annotations", "evaluation"},
    "serve": {"errors"},
    "serve.worker": {"serve", "inference", "media", "errors", "prompts", "types"},
    "serve.engine": {"serve", "serve.worker", "errors"},
    "serve.http": {"serve", "serve.engine", "errors", "types", "_version"},
    "serve.page": {"serve", "serve.engine", "serve.http", "errors"},
    "serve.server": {"serve", "serve.engine", "serve.http", "serve.page", "errors"},
    "onnx_export": BASE | {"model", "media"},
    "ablations": MIDDLE | {"training", "evaluation", "evaluation.api"},
    "bench": MIDDLE | {"training", "evaluation", "onnx_export"},
}
ROOMS |= {room: {*ROOMS, *TOP} for room in TOP}

# Packages that are slow to import or come with an extra, and the room whose modules may import them at the top.
# Everywhere else the import stands in the function that needs it.
HEAVY = {
    "av": None,
    "fastapi": "serve",
    "gradio": "serve",
    "matplotlib": "training",
    "mcp": "agents",
    "onnx": None,
    "onnx_ir": None,
    "onnxruntime": None,
    "onnxscript": None,
    "peft": "training",
    "prometheus_client": "serve",
    "ray": None,
    "supervision": None,
    "uvicorn": "serve",
}


def module_name(path: Path) -> str:
    """The name inside the package, without `instructseg.`; the package's own __init__ is the empty name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    two = ".".join(module.split(".")[:2])
    return two if two in ROOMS else module.split(".")[0]


def imports_of(tree: ast.AST, package: str) -> Iterator[str]:
    """Absolute names that a tree imports, wherever the statement stands; `from a import b` gives a.b.

    `package` is the full name of the package the module is in: relative imports start there.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            base = above[: len(above) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def own_imports(name: str, path: Path) -> set[str]:
    """Modules of ours that a module imports, without `instructseg.`; a name in a module stands for its module."""
    inside = name if path.stem == "__init__" else name.rpartition(".")[0]
    package = f"instructseg.{inside}".rstrip(".")
    found = set()
    for target in imports_of(ast.parse(path.read_text(encoding="utf-8")), package):
        if target.split(".")[0] == "instructseg":
            inner = target.removeprefix("instructseg").lstrip(".")
            found.add(inner if inner in MODULES else inner.rpartition(".")[0])
    return found


def imports_at_top(tree: ast.Module) -> Iterator[str]:
    """Top-level packages that importing the module loads: not those in functions or under TYPE_CHECKING."""
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_point_one_way(name):
    room = room_of(name)
    assert room in ROOMS, f"instructseg.{name}: no row in ROOMS says what this module may import"
    imported = own_imports(name, MODULES[name])
    assert "" not in imported, f"instructseg.{name} imports from the package's front door; import from the real module"
    wrong = sorted(target for target in imported if room_of(target) not in {room, *ROOMS[room]})
    assert not wrong, f"instructseg.{name} ({room}) may not import {wrong}; it may import {sorted(ROOMS[room])}"


def import_cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan), and the modules that import themselves."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    cycles = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for target in sorted(graph.get(module, ())):
            if target not in order:
                visit(target)
            if target in stack:
                lowest[module] = min(lowest[module], lowest[target])
        if lowest[module] == order[module]:
            component = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(component) > 1 or module in graph.get(module, ()):
                cycles.append(sorted(component))

    for module in graph:
        if module not in order:
            visit(module)
    return cycles


def test_import_cycles_are_found():
    assert import_cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}, "e": {"a"}}) == [["b", "c"], ["d"]]
    assert import_cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_import_cycles():
    """Neither at run time nor in imports under TYPE_CHECKING or inside functions. The front door "" imports lazily."""
    graph = {name: own_imports(name, path) for name, path in MODULES.items() if name}
    assert import_cycles(graph) == []


def test_the_table_allows_no_cycles():
    assert import_cycles({room: set(allowed) for room, allowed in ROOMS.items() if room not in TOP}) == []


def test_front_door_does_not_open_the_top_rooms():
    assert not {target for target in own_imports("", MODULES[""]) if room_of(target) in TOP}


@pytest.mark.parametrize("name", [name for name in MODULES if room_of(name) == "evaluation"])
def test_evaluation_does_not_know_the_segmenter(name):
    assert "inference.segmenter" not in own_imports(name, MODULES[name])


@pytest.mark.parametrize("name", [name for name in MODULES if room_of(name).startswith("serve")])
def test_the_server_uses_the_public_api(name):
    """Of `inference`, only the modules whose names `instructseg` exports."""
    used = {target for target in own_imports(name, MODULES[name]) if room_of(target) == "inference"}
    assert used <= {home.removeprefix("instructseg.") for home in instructseg._HOMES.values()}


@pytest.mark.parametrize("name", MODULES)
def test_heavy_packages_stay_in_their_room(name):
    loaded = HEAVY.keys() & set(imports_at_top(ast.parse(MODULES[name].read_text())))
    assert not {package for package in loaded if HEAVY[package] != room_of(name).split(".")[0]}


NUMERICAL = {
    "torch",
    "transformers",
    "numpy",
    "scipy",
    "cv2",
    "PIL",
    "pycocotools",
    "safetensors",
    "accelerate",
    "rich",
}
# `--help` takes some 150 modules, most of them typer's; torch alone brings over 1000. Counted, since seconds depend on
# what else the machine does; the bound on them only catches what is slow without many modules.
LIGHT = {
    "import instructseg": 60,
    "import instructseg.cli": 250,
    "from instructseg.cli import app; app(['--help'])": 250,
}
SERVER = "import instructseg.serve.server, sys; print(sorted({'torch', 'transformers', 'gradio'} & sys.modules.keys()))"
SECONDS = 10


@pytest.mark.parametrize("statement, most", LIGHT.items())
def test_import_is_light(statement, most):
    script = (
        "import sys, time; before = set(sys.modules); start = time.process_time()\n"
        f"try: {statement}\n"
        "except SystemExit: pass\n"
        "seconds, loaded = time.process_time() - start, sys.modules.keys() - before\n"
        "print(seconds, len(loaded), *sorted(set(sys.argv[1:]) & loaded))"
    )
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", script, *NUMERICAL, *HEAVY]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, count, *loaded = done.stdout.splitlines()[-1].split()
    assert loaded == []
    assert int(count) < most
    assert float(seconds) < SECONDS


def test_the_server_holds_no_model():
    """The model, and what it is made of, are in the worker's process only."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", SERVER], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_front_door_names():
    assert set(instructseg.__all__) == {*instructseg._HOMES, "__version__"}
    assert set(instructseg.__all__) <= set(dir(instructseg))
    with pytest.raises(AttributeError, match="Segmentor"):
        _ = instructseg.Segmentor


@pytest.mark.parametrize("name", instructseg._HOMES)
def test_front_door_opens(name):
    assert getattr(instructseg, name).__name__ == name


def test_no_path_of_a_developers_machine():
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        pytest.skip(f"not a git checkout: {listing.stderr.strip()}")
    folder = re.compile(rb"(?<![\w.}])/(?:work|home|root|Users)/\w")
    binary = {".jpg", ".png", ".mp4", ".safetensors"}
    paths = [REPOSITORY / name for name in listing.stdout.split("\0") if name]
    texts = [path for path in paths if path.is_file() and path.suffix not in binary]
    assert not [str(path.relative_to(REPOSITORY)) for path in texts if folder.search(path.read_bytes())]


def test_the_document_names_files_that_exist():
    """Each `name.py` and `folder/` in docs/architecture.md is in the package or at the root of the repository."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:[\w.]+/)*(?:[\w]+\.(?:py|md)|[\w]+/))`", text)
    files = {path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts}
    known = {path.relative_to(PACKAGE).as_posix() for path in files}
    missing = [
        name
        for name in named
        if not any(f"/{path}".endswith(f"/{name.strip('/').removeprefix('../')}") for path in known)
        and not (REPOSITORY / name).exists()
    ]
    assert named and missing == []
