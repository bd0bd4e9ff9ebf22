"""`metaexpert logs alert-test`: send a test alert to every channel."""

from __future__ import annotations

from typing import Annotated

import typer

from metaexpert.cli import output
from metaexpert.cli.logs.filters import Json
from metaexpert.cli.settings import settings
from metaexpert.logger.encoding.line import Clock, Header

app = typer.Typer(add_completion=False)


@app.command()
def alert_test(
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Longest wait for each channel.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Send a test alert to every configured channel; report whether it arrived.

    Configure channels like any other setting, with secrets best kept in the
    environment or in .env: METAEXPERT_TELEGRAM_TOKEN and
    METAEXPERT_TELEGRAM_CHAT_ID, METAEXPERT_DISCORD_WEBHOOK_URL,
    METAEXPERT_WEBHOOK_URL.

    Exit code 0: every channel confirmed it. 1: one did not. 2: none is
    configured.

    Example:
      metaexpert logs alert-test
    """
    from metaexpert.logger.remote.alerts.alerts import Alerts, channels  # noqa: PLC0415 - httpx and SQLite: for this command only

    config = settings()
    if not channels(config):
        raise output.InputError(
            "no channel is configured; set telegram_token and telegram_chat_id, discord_webhook_url or webhook_url"
        )
    header = Header(config.expert_name, config.facility)
    clock = Clock()
    alerts = Alerts(
        config.replace(alert_heartbeat=False),
        None,
        lambda *_: None,  # the results have the reasons
        lambda level, text: header.stamp(clock(), level, "log", 0, text),
    )
    results = alerts.test(timeout)
    alerts.close(0.0)
    if as_json:
        outcomes = {name: {"ok": not trouble, "trouble": trouble} for name, trouble in results.items()}
        output.write_json(outcomes, ensure_ascii=True, indent=None)
    else:
        for name, trouble in results.items():
            output.write(f"{name}: {trouble or 'arrived'}\n")
    raise typer.Exit(1 if any(results.values()) else 0)
