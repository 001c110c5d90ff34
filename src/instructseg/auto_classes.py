"""transformers' Auto classes know this package after `import instructseg`, which does not import transformers or torch.

Our classes register themselves when their modules are imported. `register_when_needed` lets each of transformers'
tables of registered classes import ours when something is looked up in it for the first time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

AUTO = "transformers.models.auto."
TABLES = {
    f"{AUTO}configuration_auto": ("CONFIG_MAPPING", "instructseg.model.configuration"),
    f"{AUTO}modeling_auto": ("MODEL_MAPPING", "instructseg.model.modeling"),
    f"{AUTO}image_processing_auto": ("IMAGE_PROCESSOR_MAPPING", "instructseg.model.image_processing"),
    f"{AUTO}processing_auto": ("PROCESSOR_MAPPING", "instructseg.model.processing"),
}
"""A module of transformers: its table of classes, and the module of ours that registers with it."""


def register_when_needed() -> None:
    """Prepare the tables that are imported already, and the others when they are imported."""
    if not any(isinstance(finder, _AutoModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AutoModules())
    for name in TABLES:
        if name in sys.modules:
            _prepare(sys.modules[name])


def _prepare(module: ModuleType) -> None:
    table, ours = TABLES[module.__name__]
    mapping = getattr(module, table, None)
    registered = getattr(mapping, "_extra_content", None)  # transformers has no public way to register a class lazily
    if isinstance(registered, dict) and not isinstance(registered, _Registered):
        mapping._extra_content = _Registered(registered, ours)  # pyright: ignore[reportOptionalMemberAccess]


class _Registered(dict):
    """Registered classes; the first look-up imports a module that registers more."""

    def __init__(self, registered: dict[Any, Any], module: str) -> None:
        super().__init__(registered)
        self._module: str | None = module

    def _complete(self) -> None:
        module, self._module = self._module, None  # before the import, which looks up as well
        if module is not None:
            import_module(module)

    def __contains__(self, key: object) -> bool:
        self._complete()
        return super().__contains__(key)

    def __getitem__(self, key: Any) -> Any:
        self._complete()
        return super().__getitem__(key)

    def keys(self) -> Any:
        self._complete()
        return super().keys()

    def values(self) -> Any:
        self._complete()
        return super().values()

    def items(self) -> Any:
        self._complete()
        return super().items()


class _AutoModules:
    """Finds the modules of the tables as usual, with a loader that prepares the table afterwards."""

    def __init__(self) -> None:
        self._finding: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in TABLES or fullname in self._finding:
            return None
        from importlib.util import find_spec

        self._finding.add(fullname)  # the other finders are asked
        try:
            spec = find_spec(fullname)
        finally:
            self._finding.remove(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenPrepare(spec.loader)  # pyright: ignore[reportAttributeAccessIssue]
        return spec


class _ThenPrepare:
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _prepare(module)
