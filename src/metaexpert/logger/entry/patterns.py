"""Regular expressions that are compiled when they are first needed.

Masking alone has some seventy, and a usual program needs a handful of them. To compile all takes as long as the import
of a medium-sized library.
"""

from __future__ import annotations

import re
from typing import Any, cast, overload


class _Pattern:
    """Stands for a compiled expression. Each attribute is that one's, and is kept here after the first look.

    Safe to use from any thread: two that look for the first time find the same expression in `re`'s cache.
    """

    def __init__(self, source: Any, flags: re.RegexFlag) -> None:
        self._source = source, flags

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(re.compile(*self._source), name)
        return value

    def __repr__(self) -> str:
        return repr(re.compile(*self._source))


@overload
def lazy_pattern(source: str, flags: re.RegexFlag = ...) -> re.Pattern[str]: ...
@overload
def lazy_pattern(source: bytes, flags: re.RegexFlag = ...) -> re.Pattern[bytes]: ...
def lazy_pattern(source: Any, flags: re.RegexFlag = re.NOFLAG) -> Any:
    """Return what `re.compile` would, but compiled at the first use of one of its attributes.

    An expression that is not valid raises `re.error` then.
    """
    return cast(Any, _Pattern(source, flags))
