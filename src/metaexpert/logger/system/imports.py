"""Calls that wait for a module: made when it is imported, without importing it.

Threads: any thread may import and ask.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final


def when_imported(name: str, call: Callable[[], object]) -> None:
    """Call *call* when the module *name* has been imported: at once if it is there, later, or never.

    Args:
        name: The full name of the module.
        call: Must not raise: it would seem that the import failed.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        call()
        return
    _watch.calls.setdefault(name, []).append(call)
    if _watch not in sys.meta_path:
        sys.meta_path.insert(0, _watch)


class _Watch:
    """The finder of `sys.meta_path` that sees the imports. It is there only while a call waits."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Callable[[], object]]] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Have the other finders find a module that is waited for, and its loader tell when it is done."""
        if name not in self.calls:
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            if (find := getattr(finder, "find_spec", None)) and (spec := find(name, path, target)) is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, name)
                return spec
        return None

    def done(self, name: str) -> None:
        """Make the calls that have waited for *name*."""
        calls = self.calls.pop(name, [])
        if not self.calls and self in sys.meta_path:
            sys.meta_path.remove(self)
        for call in calls:
            call()


class _Loader:
    """A module's own loader, which it gets back before it is executed."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _watch.done(self._name)


_watch: Final = _Watch()
