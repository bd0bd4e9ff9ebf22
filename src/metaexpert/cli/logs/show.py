"""`metaexpert logs`: show the entries."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from itertools import batched
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import (
    FORMATS,
    JsonFormat,
    completion,
    format_name,
    report,
    selected,
    with_filters,
    zone,
)
from metaexpert.cli.progress import shown
from metaexpert.cli.tables import counted
from metaexpert.logs import Logs, Record
from metaexpert.logs.recover import waiting_entries
from metaexpert.logs.render import FormatName, make_format

#: Records written at once.
_BATCH: Final = 1000
#: Entries shown when neither --limit nor a precise filter is given.
_LAST: Final = 50
#: Filters so precise that all entries that pass are shown.
_PRECISE: Final = ("order", "trade_id", "since", "until", "grep")


@with_filters
def show(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new entries until Ctrl-C.")] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit", "-n", metavar="N|all", show_default=False,
            help="How many of the last entries to show. Default: 50; all with --order, --trade-id, --since, --until "
            "or --grep.",
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Newest entry first.")] = False,
    fields: Annotated[
        str | None,
        typer.Option("--fields", metavar="A,B", help="Only these fields: message,order_id,price.", show_default=False),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="text|json|csv", autocompletion=completion(FORMATS),
            help="json: the lines as they are in the files. csv: fixed columns, and other fields as JSON in the last; "
            "text that a spreadsheet would run as a formula gets a leading apostrophe.",
        ),
    ] = "text",
    as_json: JsonFormat = False,
    pager: Annotated[
        bool | None,
        typer.Option("--pager/--no-pager", help="Page the output; default on a terminal when all entries are shown."),
    ] = None,
    **filters: Any,
) -> None:  # fmt: skip
    """Show the last entries."""
    count = _limit(limit, follow=follow, filters=filters)
    chosen = format_name(form, as_json=as_json)
    if reverse and follow:
        raise output.InputError("--reverse: what is followed has no end to begin with")
    found = replace(selected(filters), reverse=reverse)
    wanted = [name.strip() for name in (fields or "").split(",") if name.strip()]
    paging = not follow and (pager if pager is not None else count is None)
    with output.paged(wanted=paging):
        try:
            show_batch = _printer(chosen, wanted, zone(filters.get("tz")))
            for batch in _batches(found, count, follow=follow):
                show_batch(batch)
        except KeyboardInterrupt:
            _report(found)
            raise
    _report(found)
    if found.counts.unreadable:
        raise typer.Exit(1)


def _limit(text: str | None, *, follow: bool, filters: dict[str, Any]) -> int | None:
    if text is None:
        return _LAST if follow or not any(filters.get(name) for name in _PRECISE) else None
    if text.lower() == "all":
        return None
    if not text.isdecimal():
        raise output.InputError(f"--limit: {text!r} should be a number of entries, or all")
    return int(text)


def _batches(found: Logs, count: int | None, *, follow: bool) -> Iterator[Sequence[Record]]:
    if follow:
        yield from found.batches(last=sys.maxsize if count is None else count, sleep=output.wait)
    elif count is None:
        with shown(found, "searching") as logs:
            yield from batched(logs, _BATCH)
    else:
        yield list(replace(found, limit=count))


def _printer(form: FormatName, fields: Sequence[str], tz: tzinfo) -> Callable[[Sequence[Record]], None]:
    terminal = output.to_terminal()
    colors = form == "text" and output.wants_color()
    render = make_format(form, colors=colors, tz=tz, terminal=terminal, fields=fields, width=output.width())
    write = output.write_escaped if form == "text" or terminal else output.write_exact
    write(render.start)
    return lambda batch: write(render(batch))


def _report(found: Logs) -> None:
    counts = found.counts
    report(counts)
    if not (counts.entries or counts.unparsed or counts.unreadable):
        output.complain("note", [_nothing(found)])
    for directory in found.directories:
        if waiting := waiting_entries(directory):
            text = f"{counted(waiting, 'entry')} of dead processes only in the journal of {directory}"
            output.complain("note", [f"{text}: metaexpert logs recover {directory} brings them into the files"])


def _nothing(found: Logs) -> str:
    where = " and ".join(map(str, found.directories))
    if found.filtered:
        return f"no entry in {where} is what was asked for"
    below = sorted(str(path.parent) for directory in found.directories for path in directory.glob("*/*.log"))
    hint = f"; there are in {', '.join(dict.fromkeys(below))}" if below else ""
    return f"there are no entries in {where}{hint}"
