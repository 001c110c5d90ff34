"""Import transformers without what segmenting never uses; this saves a third of the start-up time of `segment`.

transformers imports its losses (with SciPy), its distributed training (with sympy and torch's compiler) and accelerate
together with the base class of models. It works without these packages, so they are reported to it as missing.

This changes transformers for the rest of the process, so only the program `instructseg` does it, never the library,
and only for a command that just segments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

CHECKS = (
    "is_accelerate_available", "is_scipy_available", "is_torch_distributed_available", "is_torch_flex_attn_available",
    "is_torchao_available",
)  # fmt: skip
"""transformers' functions that tell whether a package is installed."""

COMPILER = "torch._dynamo"
DECORATORS = ("allow_in_graph", "assume_constant_result", "disable")
"""Decorators of `torch.compiler` that transformers uses while it is imported."""


@dataclass
class LeanImports:
    """Whether this process belongs to the console script, which sets it; then `import_transformers` may be used."""

    allowed: bool = False


lean_imports = LeanImports()


def import_transformers() -> None:
    """Import the base classes of models; does nothing in other programs, or if transformers is already imported."""
    if not lean_imports.allowed or "transformers" in sys.modules:
        return
    import torch
    from transformers import utils
    from transformers.utils import import_utils

    for name in CHECKS:
        for module in (utils, import_utils):
            if hasattr(module, name):
                setattr(module, name, _missing)
    _scan_models_once(import_utils)
    with suppress(ImportError, AttributeError), _without_compiler(torch):  # another version may need the compiler
        for name in ("masking_utils", "modeling_utils"):
            import_module(f"transformers.{name}")


def _missing(*_: Any, **__: Any) -> bool:
    return False


@contextmanager
def _without_compiler(torch: Any) -> Iterator[None]:
    """Stand-ins for `torch._dynamo` and its decorators, which are instructions for `torch.compile` only."""
    decorators = {name: getattr(torch.compiler, name) for name in DECORATORS}
    for name in DECORATORS:
        setattr(torch.compiler, name, _unchanged)
    compiler = ModuleType(COMPILER)
    vars(compiler).update(dict.fromkeys(DECORATORS, _unchanged), __path__=[])
    vmap = ModuleType(f"{COMPILER}._trace_wrapped_higher_order_op")
    vars(vmap)["TransformGetItemToIndex"] = _index_transform
    torch._dynamo = compiler
    sys.modules |= {module.__name__: module for module in (compiler, vmap)}
    try:
        yield
    finally:
        for name, decorator in decorators.items():
            setattr(torch.compiler, name, decorator)
        for module in (compiler, vmap):
            del sys.modules[module.__name__]
        del torch._dynamo  # torch imports it when it is next used


def _index_transform() -> Any:
    """The real `TransformGetItemToIndex`, imported when it is called."""
    return import_module(f"{COMPILER}._trace_wrapped_higher_order_op").TransformGetItemToIndex()


def _unchanged(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """Decorate with or without arguments, to no effect."""
    return _unchanged if function is None else function


def _scan_models_once(import_utils: Any) -> None:
    """Reuse the table of transformers' models, which it builds from 3,000 files for each of two names of one folder."""
    scan = import_utils.create_import_structure_from_path

    def scan_once(path: str | Path) -> Any:
        path = Path(path)
        return scan(path.parent if path.name == "__init__.py" else path)

    import_utils.create_import_structure_from_path = scan_once
