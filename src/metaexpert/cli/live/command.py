"""`metaexpert logs live`: the command."""

from __future__ import annotations

import gc
import os
import shutil
from datetime import tzinfo
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import number, opened, rarely_collecting, selected, with_filters, zone
from metaexpert.logs import Logs
from metaexpert.logs.render import make_format


@with_filters
def live(
    web: Annotated[bool, typer.Option("--web", help="Serve it to a browser on this machine.")] = False,
    port: Annotated[str, typer.Option("--port", metavar="N", help="Port of --web.")] = "8000",
    **filters: Any,
) -> None:
    r"""Show the experts and their log on a screen, while they run or after.

    The experts stand above: alive or dead, age of the last entry, rate,
    drops, errors, open positions and orders, result of today (UTC, before
    fees). Below is their log, merged. Enter shows an entry with the life of
    its order, n and N go to errors, ? shows the keys.

    Reads files only: works beside running experts, after them and over ssh.
    --web serves the same to browsers on this machine, at 127.0.0.1.

    Needs the extra live: pip install 'metaexpert\[live]'

    Example:
      metaexpert logs live
      metaexpert logs live ./ema ./rsi --level info
    """
    for name in ("textual", *(["textual_serve"] if web else [])):
        if find_spec(name) is None:
            raise output.InputError("logs live needs Textual: pip install 'metaexpert[live]'")
    selected(filters)  # complains about what is wrong
    logs = opened(filters.get("directories") or ())
    from metaexpert.cli.live.chips import given  # noqa: PLC0415 - the rest only when it is shown

    chips, tz = given(filters), filters.get("tz") or "UTC"
    if web:
        from metaexpert.cli.live.web import serve  # noqa: PLC0415

        serve(logs, [*chips, ("tz", tz)], _port(port))
        return
    from_web = "TEXTUAL_DRIVER" in os.environ  # textual-serve sets it, and waits for what Textual writes first
    if not output.to_terminal() and not from_web:
        raise output.InputError("logs live needs a terminal; into a pipe: metaexpert logs --follow")
    if not from_web:
        output.write_escaped(_first_paint(selected(filters), zone(tz)))
    try:
        from metaexpert.cli.live.app import Live  # noqa: PLC0415

        # What was read has no cycles and stays: looks for cycles that went through it again and again took a third of
        # the time beside 1 GB of logs.
        with rarely_collecting():
            Live(logs, chips, settled=gc.freeze, zone=tz).run()
    finally:
        if not from_web:
            output.write_escaped("\x1b[?1049l")


def _first_paint(logs: Logs, tz: tzinfo) -> str:
    """Return the last entries for the alternate screen, where Textual takes over: its import takes far longer."""
    columns, rows = shutil.get_terminal_size()
    form = make_format("text", colors=output.wants_color(), tz=tz, terminal=True, width=columns)
    text = form(logs.last(rows))
    return "\x1b[?1049h\x1b[H\x1b[2Jreading…\n\n" + "\n".join(text.splitlines()[2 - rows :])


def _port(text: str) -> int:
    what = "a number from 1 to 65535"
    if not 0 < (found := number("--port", text, what)) < 65536:
        raise output.InputError(f"--port: {text!r} should be {what}")
    return found
