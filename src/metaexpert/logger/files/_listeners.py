"""The loggers of a directory, as the directory knows them: who is told of changes, and who is served when.

Threads: any thread may call `add`, `remove`, `ask` and `tell`; `serve` is for the writing thread, or whoever stands in
for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any, Protocol

from metaexpert.logger.config.control import Request
from metaexpert.logger.files.writing_thread import writing_thread


class Listener(Protocol):
    """A logger of a directory: the pipeline behind it."""

    @property
    def errors(self) -> Sized:
        """Errors of log calls that had no room on the stack even to ask for a service."""
        ...

    def changed(self, filled: int) -> None:
        """Take note that another amount waits, that files fail or work again, or that the thread has come or gone.

        By any thread, also from within a log call.

        Args:
            filled: Bytes that may wait before this is called again.
        """
        ...

    def stranded(self, lines: list[bytes]) -> list[bytes]:
        """Show those of *lines* that are the logger's own and must be seen; no file takes them. Returns the others."""
        ...

    def serve(self) -> bool:
        """Print, announce, and do what is due. Returns whether there is more to do at once."""
        ...

    def obey(self, request: Request) -> dict[str, Any] | None:
        """Do what is asked from outside. Returns what to answer; None if another logger is meant."""
        ...

    def close(self) -> bool:
        """Write everything, and leave the directory."""
        ...

    def after_fork_in_child(self) -> None:
        """Start anew in a child of the process."""
        ...


class Listeners:
    """The listeners of one directory, in the order in which they came."""

    def __init__(self) -> None:
        # Replaced, never changed, so that it can be walked over at any time.
        self.all: tuple[Listener, ...] = ()
        self._requests: set[Listener] = set()
        self._regular: set[Listener] = set()
        # Two hundred idle loggers are not looked at one by one: a second of that is ten times the rest of a pass.
        self._errors: tuple[Sized, ...] = ()
        self._told: tuple[int, OSError | None] = (0, None)
        self._shown: set[int] = set()

    def add(self, listener: Listener) -> None:
        """Tell and serve *listener* from now on."""
        self._change((*self.all, listener))
        self.ask(listener)

    def remove(self, listener: Listener) -> None:
        """Tell and serve *listener* no longer."""
        self._change(tuple(other for other in self.all if other is not listener))
        self._requests.discard(listener)
        self._regular.discard(listener)

    def _change(self, listeners: tuple[Listener, ...]) -> None:
        self.all, self._errors = listeners, tuple(listener.errors for listener in listeners)

    def ask(self, listener: Listener) -> None:
        """Have *listener* served in the next pass. Safe in a signal handler."""
        self._requests.add(listener)
        writing_thread.stir()

    def attend(self, listener: Listener, *, regularly: bool) -> None:
        """Have *listener* served each second, or again only when it asks."""
        (self._regular.add if regularly else self._regular.discard)(listener)

    def has_work(self) -> bool:
        """Return whether a listener has asked."""
        return bool(self._requests)

    def serve(self, *, everyone: bool = False, regular: bool = False) -> bool:
        """Serve those who have asked for it, also the *regular* ones, or *everyone*.

        Returns:
            Whether there is more to do at once.
        """
        more = False
        if regular and not everyone:
            everyone = any(self._errors)
            self._requests |= self._regular
        for listener in self.all if everyone else [*self._requests]:
            self._requests.discard(listener)  # first: what comes from now on is for another pass
            more = listener.serve() or more
        return more

    def obey(self, request: Request) -> list[dict[str, Any]]:
        """Have everyone do what is asked from outside who is meant. Returns their answers."""
        return [answer for listener in self.all if (answer := listener.obey(request)) is not None]

    def tell(self, filled: int, error: OSError | None, *, always: bool = False) -> None:
        """Tell everyone what has changed, if something has, or *always* (see `Listener.changed`)."""
        before, self._told = self._told, (filled, error)
        if always or self._told != before:
            for listener in self.all:
                listener.changed(filled)

    def unshown(self, lines: Iterable[bytes], error: OSError | None) -> list[bytes]:
        """Return those of *lines* that were not returned yet since the files began to fail with *error*."""
        if error is None:
            self._shown = set()
        new = [line for line in lines if hash(line) not in self._shown]
        self._shown.update(map(hash, new))
        return new

    def show(self, lines: Iterable[bytes], error: OSError | None) -> None:
        """Have those of *lines* shown that no file takes because of *error*, each once for as long as it lasts."""
        left = self.unshown(lines, error)
        for listener in self.all:
            left = listener.stranded(left)
