"""structlog without its start: of a package of 21 modules, which loads rich, pygments and asyncio, a logger needs four.

`import structlog` runs the ``__init__`` of the package, which imports every module of it. Some of them look for rich,
and its import takes longer than that of all the rest. So where structlog has not been imported yet, the package is
put into `sys.modules` without running its ``__init__``; the four modules are imported from it as usual. The
``__init__`` runs when somebody asks the package for a name that is not there, for instance by
``structlog.get_logger``. From then on the package is what it always was. Nothing in it is replaced or left out.

The configuration of structlog waits with it: `configure` keeps the settings, and they are applied as soon as
structlog's own module for them is loaded, before anybody can read or change them.

Threads: any thread may import structlog, ask it for a name, or call `configure`, at any time. The ``__init__`` runs
once. No lock is held while a module of structlog is imported from outside the ``__init__``.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any, Final

from metaexpert.logger.system import forks
from metaexpert.logger.system.threads import RLock

_PACKAGE: Final = "structlog"
#: The module of structlog that holds its configuration.
_CONFIG: Final = "_config"


class _Opening(forks.ForkAware):
    """The run of the package's ``__init__``."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.running = False
        #: The settings that wait for structlog's configuration to be loaded; at most one item, in a single operation.
        self.settings: dict[str, dict[str, Any]] = {}
        forks.on_fork(self)

    def after_fork_in_child(self) -> None:
        """Forget a run in another thread of the parent: the next one that needs it begins anew."""
        self.lock, self.running = RLock(), False

    def run(self, package: ModuleType) -> None:
        """Run the ``__init__`` of *package*, unless that is done, or under way in this thread."""
        with self.lock:
            if self.running or type(package) is not UnopenedPackage:
                return
            self.running = True
            try:
                package.__spec__.loader.exec_module(package)  # type: ignore[union-attr]
            finally:
                self.running = False
            package.__class__ = ModuleType  # type: ignore[assignment]

    def apply(self, config: Any) -> None:
        """Hand the settings that wait to *config*, structlog's module for them."""
        if (settings := self.settings.pop(_CONFIG, None)) is not None:
            config.configure(**settings)


_opening: Final = _Opening()


class UnopenedPackage(ModuleType):
    """A package whose ``__init__`` runs when it is asked for a name that it does not have yet."""

    def __getattr__(self, name: str) -> Any:
        if (module := self._submodule(name)) is not None:
            return module
        _opening.run(self)
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        ours = isinstance(value, ModuleType) and value.__name__ == f"{_PACKAGE}.{name}"
        if not (ours or name.startswith("__")):
            _opening.run(self)  # which would overwrite the value later
        ModuleType.__setattr__(self, name, value)
        if ours and name == _CONFIG:
            _opening.apply(value)

    def __dir__(self) -> list[str]:
        _opening.run(self)
        return sorted(ModuleType.__dir__(self))

    @staticmethod
    def _submodule(name: str) -> ModuleType | None:
        # Modules of structlog import each other so. Their imports take locks, so ours must not be held here.
        if name.startswith("__") or find_spec(f"{_PACKAGE}.{name}") is None:
            return None
        try:
            return importlib.import_module(f"{_PACKAGE}.{name}")
        except ImportError:  # it needs another library, as structlog.twisted does: the `__init__` sees to that
            return None


def _put_in_place() -> None:
    """Put the package into `sys.modules` without running its ``__init__``, unless it is there."""
    if _PACKAGE in sys.modules:
        return
    spec = find_spec(_PACKAGE)
    if spec is not None and spec.loader is not None:
        package = module_from_spec(spec)
        package.__class__ = UnopenedPackage
        sys.modules.setdefault(_PACKAGE, package)


def configure(**settings: Any) -> None:
    """Call ``structlog.configure(**settings)``, now or as soon as anybody can see a difference."""
    package = sys.modules.get(_PACKAGE)
    if not isinstance(package, UnopenedPackage):
        structlog.configure(**settings)
        return
    _opening.settings[_CONFIG] = settings
    if (config := vars(package).get(_CONFIG)) is not None:
        _opening.apply(config)


def loaded_config() -> Any:
    """Return structlog's module for its configuration, or None while nobody has needed it."""
    return vars(structlog).get(_CONFIG)


_put_in_place()

import structlog  # noqa: E402 - behind the package that stands in its place
from structlog import contextvars  # noqa: E402
from structlog._base import BoundLoggerBase  # noqa: E402
from structlog.exceptions import DropEvent  # noqa: E402
from structlog.typing import EventDict, Processor, WrappedLogger  # noqa: E402

__all__ = [
    "BoundLoggerBase",
    "DropEvent",
    "EventDict",
    "Processor",
    "WrappedLogger",
    "configure",
    "contextvars",
    "loaded_config",
    "structlog",
]
