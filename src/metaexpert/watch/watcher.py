"""The watcher: looks at many log directories twice a second, and tells what became of their experts.

It only needs to look: nothing in an expert waits for it, and a watcher that was killed goes on where it was.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from metaexpert.logger import LoggerConfig, schema
from metaexpert.logger.system.calls import monotonic
from metaexpert.logs.recover import recover_logs
from metaexpert.watch._listing import Listing
from metaexpert.watch._place import Place, Tell
from metaexpert.watch._teller import Teller
from metaexpert.watch.rules import Rules

#: Seconds between two looks. A death is seen at the second look behind the last heartbeat.
INTERVAL: Final = 0.5
#: Share of the time that the search for new directories may take, and seconds between two searches at least.
_SEARCH_SHARE: Final = 0.002
_SEARCH_PAUSE: Final = 1.0
#: How deep below a root a log directory may lie.
_DEEPEST: Final = 4
#: Seconds between two looks whether the channels have everything, and longest wait for them at the end.
_PAUSE: Final = 0.05
LAST_PATIENCE: Final = 5.0


class Watcher:
    """Watches log directories.

    Args:
        roots: Log directories, or directories above them; they need not exist yet.
        rules: What is told beside bad ends.
        config: The logger's configuration, for the channels.
        tell: Called with each event: its name, and fields. By any thread.
        once: Whether there will be a single look.
    """

    def __init__(
        self, roots: Iterable[Path], rules: Rules, config: LoggerConfig, tell: Tell, *, once: bool = False
    ) -> None:
        self._roots = list(roots)
        self._rules, self._tell, self._once = rules, tell, once
        self._teller = Teller(config, lambda text: tell("trouble", text=text), lambda name: tell("told", incident=name))
        self._places: dict[Path, Place] = {}
        self._listings: dict[Path, Listing] = {}
        self._next_search = 0.0
        recover_logs([])  # its imports, before they are needed in a hurry

    @property
    def has_channels(self) -> bool:
        """Whether alerts go anywhere."""
        return self._teller.has_channels

    @property
    def bad(self) -> bool:
        """Whether anything bad was told."""
        return any(place.bad for place in self._places.values())

    @property
    def finished(self) -> bool:
        """Whether no process logs any more, and all was told."""
        return self._teller.idle and not any(place.living for place in self._places.values())

    def look(self) -> None:
        """Look once at every directory."""
        now = monotonic()
        if now >= self._next_search:
            self._search()
            took = monotonic() - now
            self._next_search = now + max(_SEARCH_PAUSE, took / _SEARCH_SHARE)
        for place in self._places.values():
            place.look(monotonic())

    def run(self, stop: threading.Event, over: Callable[[], bool] = lambda: False) -> None:
        """Look until *stop* is set, or nothing is left to watch when it is *over*."""
        while not stop.is_set():
            last = over()
            self.look()
            if last and self.finished:
                return
            stop.wait(INTERVAL)

    def wait(self, patience: float) -> None:
        """Wait until all alerts were sent, at most *patience* seconds."""
        deadline = monotonic() + patience
        while not self._teller.idle and monotonic() < deadline:
            time.sleep(_PAUSE)

    def close(self, patience: float = LAST_PATIENCE) -> None:
        """Send what can be sent within *patience* seconds; the next watcher sends the rest."""
        for place in self._places.values():
            place.close()
        self._teller.close(patience)

    # -- directories ------------------------------------------------------------------------------------------

    def _search(self) -> None:
        found: dict[Path, None] = {}
        for root in self._roots:
            self._find(root, found, _DEEPEST)
        for path in [path for path in self._places if path not in found]:
            self._places.pop(path).close()
            self._tell("gone", directory=str(path))
        for path in found:
            if path not in self._places:
                self._places[path] = Place(path, self._rules, self._teller, self._tell, once=self._once)
                self._places[path].prepare()
                self._tell("watching", directory=str(path))

    def _find(self, directory: Path, found: dict[Path, None], depth: int) -> None:
        """Add to *found* the log directories at and below *directory*. Links are not followed."""
        listing = self._listings.setdefault(directory, Listing(directory))
        try:
            listing.refresh()
        except OSError:  # not there yet, or none of ours
            self._listings.pop(directory)
            return
        below = [name for name, is_directory in listing.names.items() if is_directory]
        if schema.PRIVATE_DIRECTORY in below:
            found[directory] = None
        for name in below if depth else ():
            if not name.startswith("."):
                self._find(directory / name, found, depth - 1)
