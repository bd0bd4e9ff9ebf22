"""`metaexpert logs`: read what experts logged. Each command is a module of its own, imported when it is called."""

from __future__ import annotations

from typing import ClassVar

import typer

from metaexpert.cli.dispatch import DefaultGroup, TextCommand
from metaexpert.cli.logs.show import show


class Commands(DefaultGroup):
    """The commands beside the default one, `show`."""

    #: A new command is one more line here.
    references: ClassVar[dict[str, str]] = {
        "why": "metaexpert.cli.logs.why:why",
        "runs": "metaexpert.cli.logs.runs:runs",
        "live": "metaexpert.cli.live.command:live",
        "report": "metaexpert.cli.logs.report:report",
        "order": "metaexpert.cli.logs.order:order",
        "trades": "metaexpert.cli.logs.trades:trades",
        "stats": "metaexpert.cli.logs.stats:stats",
        "bundle": "metaexpert.cli.logs.bundle:bundle",
        "scan": "metaexpert.cli.logs.scan:scan",
        "alert-test": "metaexpert.cli.logs.alerts:app",
        "query": "metaexpert.cli.logs.query:query",
        "export": "metaexpert.cli.logs.query:export",
        "verify": "metaexpert.cli.logs.verify:verify",
        "seal": "metaexpert.cli.seal.commands:seal",
        "prove": "metaexpert.cli.seal.commands:prove",
        "check-proof": "metaexpert.cli.seal.commands:check_proof",
        "recover": "metaexpert.cli.logs.recover:recover",
        "schema": "metaexpert.cli.logs.verify:schema_app",
    }


app = typer.Typer(cls=Commands, add_completion=False, subcommand_metavar="| COMMAND [ARGS]...")


@app.callback()
def logs() -> None:
    """Show the last log entries of all experts, merged by time.

    Reads NAME.log, NAME.log.1, NAME.log.2.gz … of running, stopped and
    crashed experts. Each entry is shown once, although trades and errors
    are in several files. Lines that are not entries are shown as they are.
    Files of other loggers (structlog, loguru, pino, freqtrade …) are read
    as far as they are recognised; --explain says what each file is.

    If a directory has the name of a command, write ./NAME.

    Example:
      metaexpert logs
      metaexpert logs --follow --level warning
      metaexpert logs --since 15m --symbol BTCUSDT --grep "time.?out"
      metaexpert logs ./ema ./rsi -n 1000 --format csv > entries.csv
      metaexpert logs order ord-42
      metaexpert logs ~/freqtrade/freqtrade.log --since 1h
    """


app.command(DefaultGroup.DEFAULT, cls=TextCommand, hidden=True)(show)
