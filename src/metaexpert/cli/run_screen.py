"""What a run shows on a terminal: bars done, their rate and the equity while it lasts, and a card of its results."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from os import PathLike
from typing import TYPE_CHECKING, Any, Final

from metaexpert.cli import output
from metaexpert.logger.entry.console_text import escape
from metaexpert.logs.vocabulary import counted
from metaexpert.trading.bars import check_bars

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.progress import Progress

    from metaexpert.expert import MetaExpert
    from metaexpert.trading.session import RunResult

#: Settings by which somebody asks for entries on the console.
_CONSOLE: Final = ("log_to_console", "console_level", "console_format", "json_logging", "stream")


def progress_of(expert: MetaExpert, data: Any, mode: str) -> AbstractContextManager[object]:
    """Show the progress of a backtest on standard error, if it is a terminal.

    It stands where the entries would: they are in the files, and the card names the command that shows them. So
    nothing is shown when a source asks for the console, or when the expert has logged already.
    """
    if mode != "backtest" or not output.is_terminal(sys.stderr):
        return nullcontext()
    config, sources = expert.config, expert.config.sources()
    if config.log_to_console:
        asked = any(sources[name].source != "default" for name in _CONSOLE if name in sources)
        if asked or expert.has_logged or not config.log_to_file:
            return nullcontext()
        expert.config = config.replace(log_to_console=False)
    return _progress(expert, check_bars(data) if isinstance(data, str | PathLike) else None)


def _progress(expert: MetaExpert, total: int | None) -> Progress:
    from rich.console import Console, RenderableType  # noqa: PLC0415 - on a terminal only
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn  # noqa: PLC0415

    class Rate(TextColumn):
        def render(self, task: Task) -> Any:
            self.text_format = f"bars  {task.speed or 0:,.0f}/s  equity {expert.equity:,.2f}"
            return super().render(task)

    class Bars(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            for task in self.task_ids:
                self.update(task, completed=expert.bars)
            return super().get_renderables()

    columns = (TextColumn(escape(expert.name), markup=False), BarColumn(), MofNCompleteColumn(), Rate("", markup=False))
    bars = Bars(*columns, console=Console(stderr=True), transient=True)
    bars.add_task("", total=total)
    return bars


def tell(expert: MetaExpert, result: RunResult) -> None:
    """Print the results of a run: a card on a terminal, one line into a pipe."""
    if not output.is_terminal(sys.stdout):
        output.write(_line(result))
        return
    from rich.console import Console  # noqa: PLC0415 - on a terminal only
    from rich.panel import Panel  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    rows = Table.grid(padding=(0, 2))
    for name, text in _rows(expert, result):
        rows.add_row(Text(name, "dim"), Text(escape(text)))
    title = Text(f" {escape(result.expert_name)}: {escape(result.reason)} ", "bold")
    Console(no_color=not output.wants_color(), highlight=False).print(
        Panel.fit(rows, title=title, title_align="left", border_style="red" if result.failed else "green")
    )


def _rows(expert: MetaExpert, result: RunResult) -> Iterator[tuple[str, str]]:
    span = (
        f", {result.first_bar:%Y-%m-%d} to {result.last_bar:%Y-%m-%d}" if result.first_bar and result.last_bar else ""
    )
    yield "bars", f"{result.bars:,}{span}"
    yield "result", f"{result.pnl:+,.2f} after fees of {result.fees:,.2f}"
    yield "equity", f"{result.equity:,.2f}, deepest fall {result.max_drawdown:.2%}"
    rejected = f", {len(result.rejected)} rejected" if result.rejected else ""
    yield "orders", f"{len(result.orders)}{rejected}, {counted(len(result.fills), 'fill')}"
    if result.position.size:
        yield "position", f"{result.position.side} {abs(result.position.size):g} at {result.position.entry_price:g}"
    logs = f"metaexpert logs {expert.config.log_dir}"
    if not expert.config.log_to_file:
        yield "errors", str(result.errors)
    elif result.errors:
        yield "errors", f"{result.errors}: {logs} --level error"
    else:
        yield "log", f"{logs} --level info"


def _line(result: RunResult) -> str:
    done = ((result.bars, "bar"), (len(result.orders), "order"), (len(result.fills), "fill"), (result.errors, "error"))
    counts = ", ".join(counted(count, noun) for count, noun in done)
    return f"{result.expert_name}: {result.reason}; {counts}; result {result.pnl:+.2f}, fees {result.fees:.2f}\n"
