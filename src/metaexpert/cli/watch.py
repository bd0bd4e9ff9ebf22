"""`metaexpert watch`: notice experts that died, hang or fell silent, and send an alert."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json
from metaexpert.cli.settings import settings
from metaexpert.watch.rules import read_rules
from metaexpert.watch.watcher import Watcher

#: Longest wait of a single look for its alerts, in seconds.
_ONCE_PATIENCE: Final = 30.0
_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP")


def watch(
    directories: Annotated[
        list[str] | None,
        typer.Argument(metavar="DIR", help="Log directories, or directories above them; log_dir if left out."),
    ] = None,
    hang: Annotated[
        str | None,
        typer.Option("--hang", metavar="SPAN", help="Tell when a process logs nothing for so long: 60s, 5m."),
    ] = None,
    silence: Annotated[
        list[str] | None,
        typer.Option(
            "--silence", metavar="KIND=SPAN",
            help="Tell when there is no entry of a kind for so long: trade=30m. "
            "any, trade, decision, a level, or text of the message; may be repeated.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, for cron.")] = False,
    beside: Annotated[bool, typer.Option("--beside", hidden=True)] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Watch experts, and send an alert when one dies, hangs or falls silent.

    A process of its own for any number of log directories; those that appear
    later below a DIR are taken up. Within seconds of a kill or a crash it
    brings what waits in the journal into the files, and sends the verdict of
    `metaexpert logs why` through the channels of the configuration:
    telegram_token, discord_webhook_url, webhook_url. Each bad end is told
    once, also by several watchers and over their restarts. A process that
    stands still for 30 s is told without being asked for.

    Exit code with --once: 1 when something bad was told.

    Example:
      metaexpert watch logs
      metaexpert watch ~/experts --hang 5m --silence trade=6h
      metaexpert watch logs --once --json
    """
    try:
        rules = read_rules(hang, silence or ())
    except ValueError as error:
        raise output.InputError(str(error)) from None
    config = settings()
    roots = [Path(name).absolute() for name in directories or [str(config.log_dir)]]
    for root in roots:
        if root.exists() and not root.is_dir():
            raise output.InputError(f"{root} is a file; give its directory")
    printer = _Printer(as_json=as_json)
    watcher = Watcher(roots, rules, config, printer.tell, once=once)
    if not watcher.has_channels:
        output.complain("note", ["no channel for alerts is configured; what is noticed is only printed"])
    if once:
        watcher.look()
        watcher.wait(_ONCE_PATIENCE)
        watcher.close()
        raise typer.Exit(1 if watcher.bad else 0)
    stop, alone = threading.Event(), threading.Event()
    for name in _SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    if beside:
        threading.Thread(target=_wait_for_parent, args=(alone,), daemon=True).start()
    watcher.run(stop, alone.is_set)
    watcher.close()


def _wait_for_parent(alone: threading.Event) -> None:
    """Set *alone* when standard input ends: the process that has started us is gone."""
    while sys.stdin.buffer.read(4096):
        pass
    alone.set()


class _Printer:
    """Prints events, by any thread, for as long as somebody reads them: a watcher goes on without.

    Args:
        as_json: A line of JSON for each.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()
        self._open = True

    def tell(self, event: str, **fields: Any) -> None:
        """Print an event."""
        with self._lock:
            if not self._open:
                return
            try:
                self._print(event, fields)
            except (output.PipeClosed, output.OutputError):
                self._open = False
                output.abandon_output()

    def _print(self, event: str, fields: dict[str, Any]) -> None:
        moment = datetime.now(UTC)
        if self._as_json:
            output.write_json({"time": moment.isoformat(), "event": event, **fields}, indent=None)
            return
        if event == "trouble":
            output.complain("warning", [str(fields.get("text"))])
            return
        text = fields.get("text") or " ".join(f"{name}={value}" for name, value in fields.items())
        output.write(f"{moment:%Y-%m-%d %H:%M:%S} {event:<9} {text}\n")
