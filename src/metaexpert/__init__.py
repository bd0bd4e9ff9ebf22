"""MetaExpert: automated trading experts and their structured logging.

`MetaExpert` is imported at its first use, so that `import metaexpert.logger` does not load the trading side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metaexpert._version import __version__

if TYPE_CHECKING:
    from metaexpert.expert import MetaExpert

__all__ = ["MetaExpert", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "MetaExpert":
        from metaexpert.expert import MetaExpert  # noqa: PLC0415 - lazy on purpose, see above

        return MetaExpert
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
