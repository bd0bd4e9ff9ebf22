"""`metaexpert logs`: the entries themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from itertools import batched
from typing import Annotated, Any, Final, cast

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.select import Directories, selected, tell, with_filters, zone
from metaexpert.logs import Logs, Record
from metaexpert.logs.render import FormatName

#: Records written at once.
_BATCH: Final = 1000
_FORMATS: Final = ("text", "json", "csv")
#: Entries shown when nothing says what is wanted.
_LAST: Final = 50
#: Filters that say what is wanted, so that all of it is shown.
_PRECISE: Final = ("order", "trade_id", "since", "until", "grep")


def _formats(incomplete: str) -> list[str]:
    return [name for name in _FORMATS if name.startswith(incomplete)]


@with_filters
def show(
    context: typer.Context,
    directories: Directories = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new entries until Ctrl-C.")] = False,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit", "-n", metavar="N|all", show_default=False,
            help="How many of the last entries to show. Default: 50; all with --order, --trade-id, --since, --until "
            "or --grep.",
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The newest entry first.")] = False,
    fields: Annotated[
        str | None,
        typer.Option("--fields", metavar="A,B", help="Only these fields: message,order_id,price.", show_default=False),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="text|json|csv", autocompletion=_formats,
            help="json: the lines as they stand in the files. csv: fixed columns, the rest as JSON in the last; "
            "text that a spreadsheet would run as a formula gets an apostrophe in front.",
        ),
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    pager: Annotated[
        bool | None,
        typer.Option("--pager/--no-pager", help="Page through the output. On a terminal that is done for all entries."),
    ] = None,
    **filters: Any,
) -> None:  # fmt: skip
    """Show the last entries."""
    count = _limit(limit, follow=follow, filters=filters)
    form = "json" if as_json else form
    if form not in _FORMATS:
        raise output.InputError(f"--format: {form!r} should be text, json or csv")
    if reverse and follow:
        raise output.InputError("--reverse: what is followed has no end to begin with")
    found = replace(selected(context, directories, filters), reverse=reverse)
    wanted = [name.strip() for name in (fields or "").split(",") if name.strip()]
    paging = not follow and (pager if pager is not None else count is None)
    with output.paged(wanted=paging):
        try:
            show_batch = _printer(cast("FormatName", form), wanted, zone(filters.get("tz")))
            for batch in _batches(found, count, follow=follow):
                show_batch(batch)
        except KeyboardInterrupt:
            _tell(found)
            raise
    _tell(found)
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
        yield from _all(found)
    else:
        yield list(replace(found, limit=count))


def _all(found: Logs) -> Iterator[Sequence[Record]]:
    from metaexpert.cli.progress import shown  # noqa: PLC0415 - not for the last entries

    with shown(found, "searching") as logs:
        yield from batched(logs, _BATCH)


def _printer(form: FormatName, fields: Sequence[str], tz: tzinfo) -> Callable[[Sequence[Record]], None]:
    from metaexpert.logs.render import make_format  # noqa: PLC0415 - needed from here on only

    terminal = output.to_terminal()
    colors = form == "text" and output.wants_color()
    render = make_format(form, colors=colors, tz=tz, terminal=terminal, fields=fields)
    write = output.write if form == "text" or terminal else output.write_exact
    write(render.start)
    return lambda batch: write(render(batch))


def _tell(found: Logs) -> None:
    counts = found.counts
    tell(counts)
    if not (counts.entries or counts.unparsed or counts.unreadable):
        output.complain("note", [_nothing(found)])


def _nothing(found: Logs) -> str:
    where = " and ".join(map(str, found.directories))
    if found.filtered:
        return f"no entry in {where} is what was asked for"
    below = sorted(str(path.parent) for directory in found.directories for path in directory.glob("*/*.log"))
    hint = f"; there are in {', '.join(dict.fromkeys(below))}" if below else ""
    return f"there are no entries in {where}{hint}"
