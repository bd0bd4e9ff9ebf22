"""`metaexpert logs`: show the entries."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from itertools import batched, groupby
from typing import Annotated, Any, Final

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import (
    FORMATS,
    JsonFormat,
    completion,
    format_name,
    number,
    report,
    selected,
    with_filters,
    zone,
)
from metaexpert.cli.progress import shown
from metaexpert.logger.entry.console_text import TO_THE_SECOND, escape, time_text
from metaexpert.logs import Entry, Logs, Record
from metaexpert.logs.recover import waiting_entries
from metaexpert.logs.render import FormatName, make_format
from metaexpert.logs.vocabulary import counted

#: Records written at once.
_BATCH: Final = 1000
#: Entries shown when neither --limit nor a precise filter is given.
_LAST: Final = 50
#: Names that are told of what there is.
_MOST_NAMES: Final = 10
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
    after: Annotated[str | None, typer.Option("--after", "-A", metavar="N", help="Also N entries after each.")] = None,
    before: Annotated[
        str | None, typer.Option("--before", "-B", metavar="N", help="Also N entries before each.")
    ] = None,
    context: Annotated[
        str | None, typer.Option("--context", "-C", metavar="N", help="Also N entries before and after each.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each file is recognised as, and no entries.")
    ] = False,
    **filters: Any,
) -> None:  # fmt: skip
    """Show the last entries."""
    if explain:
        _explain(filters, as_json=as_json or form == "json")
        return
    both = _number("--context", context)
    around = _number("--before", before, both), _number("--after", after, both)
    if any(around) and (follow or reverse):
        raise output.InputError("--after, --before and --context go with neither --follow nor --reverse")
    count = _limit(limit, follow=follow, filters=filters)
    chosen = format_name(form, as_json=as_json)
    if reverse and follow:
        raise output.InputError("--reverse: what is followed has no end to begin with")
    found = replace(selected({**filters, "follow": follow}, files=True, stores=True), reverse=reverse)
    tz = zone(filters.get("tz"))
    wanted = [name.strip() for name in (fields or "").split(",") if name.strip()]
    paging = not follow and (pager if pager is not None else count is None)
    with output.paged(wanted=paging):
        try:
            show_batch = _printer(chosen, wanted, tz)
            missing = set(wanted)
            for batch in _around(found, count, around) if any(around) else _batches(found, count, follow=follow):
                show_batch(batch)
                missing = {name for name in missing if not any(map(_has(name), batch or ()))}
        except KeyboardInterrupt:
            _report(found, tz, wanted=count != 0)
            raise
    _report(found, tz, wanted=count != 0)
    if found.counts.entries and missing:
        output.complain("note", [f"no entry shown has a field {name!r}" for name in wanted if name in missing])
    if found.counts.unreadable:
        raise typer.Exit(1)


def _explain(filters: dict[str, Any], *, as_json: bool) -> None:
    from metaexpert.cli.tables import table  # noqa: PLC0415 - rarely asked
    from metaexpert.logs.foreign.explain import explain  # noqa: PLC0415

    logs = selected(filters, files=True)
    found = explain(logs.directories, diagnostics=logs.diagnostics, recorder=logs.recorder)
    if as_json:
        output.write_json([one.as_dict() for one in found])
    else:
        output.write(table(("file", "format", "times", "lines"), found, width=output.width(), names=["file"]))


def _limit(text: str | None, *, follow: bool, filters: dict[str, Any]) -> int | None:
    if text is None:
        return _LAST if follow or not any(filters.get(name) for name in _PRECISE) else None
    if text.lower() == "all":
        return None
    return number("--limit", text, "a number of entries, or all")


def _batches(found: Logs, count: int | None, *, follow: bool) -> Iterator[Sequence[Record]]:
    if follow:
        yield from found.batches(last=sys.maxsize if count is None else count, sleep=output.wait)
    elif count is None:
        with shown(found, "searching") as logs:
            yield from batched(logs, _BATCH)
    else:
        yield list(replace(found, limit=count))


def _number(option: str, text: str | None, default: int = 0) -> int:
    return number(option, text, "a number of entries") if text is not None else default


def _has(name: str) -> Callable[[Record], bool]:
    return lambda record: isinstance(record, Entry) and name in record.flat


def _around(found: Logs, count: int | None, around: tuple[int, int]) -> Iterator[Sequence[Record] | None]:
    """Yield the entries with those around them, each stretch as one batch, and None between two."""
    with shown(found, "searching") as logs:
        stretches = groupby(logs.with_context(*around, limit=count), key=lambda record: record is None)
        for is_gap, records in stretches:
            yield None if is_gap else [record for record in records if record is not None]


def _printer(form: FormatName, fields: Sequence[str], tz: tzinfo) -> Callable[[Sequence[Record] | None], None]:
    terminal = output.to_terminal()
    colors = form == "text" and output.wants_color()
    render = make_format(form, colors=colors, tz=tz, terminal=terminal, fields=fields, width=output.width())
    write = output.write_escaped if form == "text" or terminal else output.write_exact
    write(render.start)
    gap = "--\n" if form == "text" else ""
    return lambda batch: write(gap if batch is None else render(batch))


def _report(found: Logs, tz: tzinfo, *, wanted: bool) -> None:
    counts = found.counts
    report(counts, "shown as found")
    if wanted and not (counts.entries or counts.unparsed or counts.unreadable):
        output.complain("note", [_nothing(found, tz)])
    for directory in found.directories:
        if directory.is_dir() and (waiting := waiting_entries(directory)):
            text = f"{counted(waiting, 'entry')} of dead processes only in the journal of {directory}"
            output.complain("note", [f"{text}: metaexpert logs recover {directory} brings them into the files"])


def _nothing(found: Logs, tz: tzinfo) -> str:
    where = " and ".join(map(str, found.places))
    if found.filtered:
        return f"no entry in {where} is what was asked for{_present(found, tz)}"
    below = sorted(str(path.parent) for directory in found.directories for path in directory.glob("*/*.log"))
    hint = f"; there are in {', '.join(dict.fromkeys(below))}" if below else ""
    return f"there are no entries in {where}{hint}"


def _present(found: Logs, tz: tzinfo) -> str:
    """Return what there is, where nothing was found."""
    there = found.present()
    if there.first is None or there.last is None:
        return ""
    names = {"experts": there.experts, "symbols": there.symbols}
    lists = [
        f"{name} {', '.join(sorted(escape(one) for one, _ in counts.most_common(_MOST_NAMES)))}"
        + (f" and {len(counts) - _MOST_NAMES} more" if len(counts) > _MOST_NAMES else "")
        for name, counts in names.items()
        if counts
    ]
    first, last = (time_text(time.isoformat(), tz)[:TO_THE_SECOND] for time in (there.first, there.last))
    return f"; there are {'; '.join(lists)}; from {first} to {last} {tz}"
