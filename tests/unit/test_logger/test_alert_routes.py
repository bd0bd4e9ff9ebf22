"""`alert_routes`: which alert goes where, by level, expert and symbol, and what is wrong with a route."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import TOKEN, BotApi, ScriptedServer, discord, webhook
from waiting import eventually

from metaexpert.cli.options import given
from metaexpert.cli.output import InputError
from metaexpert.logger import ConfigurationError, LoggerConfig, MetaLogger
from metaexpert.logger.config.settings import command_line
from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.remote.alerts._routes import Routes
from metaexpert.logger.remote.alerts.alerts import Alerts

BASE: dict[str, Any] = {"telegram_token": TOKEN, "telegram_chat_id": 42, "log_to_console": False}
HOOK = "https://hooks.example.com/very-secret-path"


def names(config: LoggerConfig, level: str = "critical", **fields: Any) -> set[str]:
    """Return the names of the channels that get an entry."""
    routes = Routes(config)
    return {routes.channels[place].name for place in routes.places({"level": level, "appname": "EmaBot", **fields})}


@pytest.fixture
def server() -> Iterator[BotApi]:
    """Return a Bot API on loopback."""
    with BotApi() as running:
        yield running


class TestChoice:
    def test_without_routes_all_channels_get_all(self) -> None:
        """The default is as it was."""
        config = LoggerConfig(**BASE, webhook_url=HOOK)
        assert names(config) == {"telegram", "webhook"}
        assert names(config, "error") == set()
        assert names(config, "info", alert=True) == {"telegram", "webhook"}

    @pytest.mark.parametrize(
        ("entry", "gets"),
        [
            ({"symbol": "BTCUSDT"}, {"telegram alert_routes[0]", "telegram alert_routes[1]"}),
            ({"symbol": "btc/usdt"}, {"telegram alert_routes[0]", "telegram alert_routes[1]"}),
            ({"symbol": "ETHUSDT"}, {"telegram alert_routes[1]"}),
            ({"expert_name": "RsiBot", "symbol": "BTCUSDT"}, {"telegram"}),
            ({"level": "error", "symbol": "BTCUSDT"}, {"telegram alert_routes[1]"}),
            ({"level": "warning", "symbol": "BTCUSDT"}, set()),
            ({"level": "info", "alert": True}, {"telegram"}),
            ({"level": "error", "expert_name": "RsiBot"}, set()),
        ],
    )
    def test_all_routes_that_match_count_and_else_the_settings(self, entry: dict[str, Any], gets: set[str]) -> None:
        """Level, expert and symbol must match, in any case; the level of a route is alert_level unless it says so."""
        routes = [
            {"to": "telegram", "expert": "ema*", "symbol": ["BTC*", "XBT*"], "telegram_chat_id": 1},
            {"to": "telegram", "level": "error", "expert": "Ema*", "telegram_chat_id": 2},
        ]
        assert names(LoggerConfig(**BASE, alert_routes=routes), **{"level": "critical", **entry}) == gets

    def test_an_address_counts_once(self) -> None:
        """Two routes to the address of the settings, and that itself, are one channel."""
        config = LoggerConfig(**BASE, alert_routes=[{"to": "telegram", "level": "info"}, {"to": ["telegram"]}])
        assert [channel.name for channel in Routes(config).channels] == ["telegram"]

    def test_what_belongs_to_an_address_goes_with_it(self) -> None:
        """A route to another chat has not the topic of the settings, nor another receiver their token."""
        routes = [
            {"to": "telegram", "telegram_chat_id": 7},
            {"to": "telegram", "telegram_thread_id": 8},
            {"to": "webhook", "webhook_url": "https://other.example.com/x"},
        ]
        config = LoggerConfig(
            **BASE, telegram_thread_id=5, webhook_url=HOOK, webhook_token="tokentoken", alert_routes=routes
        )
        usual, hook, other_chat, other_thread, other_hook = Routes(config).channels
        threads = [channel._thread for channel in (usual, other_chat, other_thread)]  # type: ignore[attr-defined]
        assert threads == [{"message_thread_id": 5}, {}, {"message_thread_id": 8}]
        assert (other_chat._chat, other_thread._chat) == ("7", "42")  # type: ignore[attr-defined]
        assert "tokentoken" in str(hook._headers)  # type: ignore[attr-defined]
        assert other_hook._headers == {}  # type: ignore[attr-defined]

    def test_routes_alone_are_enough(self) -> None:
        """The address may stand in routes only; then an alert that no route takes goes nowhere."""
        config = LoggerConfig(
            telegram_token=TOKEN,
            alert_routes=[
                {"to": "discord", "discord_webhook_url": HOOK, "symbol": "BTC*"},
                {"to": "telegram", "telegram_chat_id": "@desk", "symbol": "ETH*"},
            ],
        )
        assert names(config, symbol="BTCUSDT") == {"discord alert_routes[0]"}
        assert names(config, symbol="SOLUSDT") == set()


class TestDelivery:
    def test_each_place_gets_its_own(self, server: BotApi) -> None:
        """Chats, a Discord webhook and the level of a route that is below alert_level, over real connections."""
        with ScriptedServer(discord) as two, ScriptedServer(webhook) as three:
            routes = [
                {"to": "telegram", "symbol": "BTC*", "telegram_chat_id": 7, "telegram_thread_id": 3},
                {"to": "discord", "level": "warning", "expert": "ema*", "discord_webhook_url": f"{two.url}/x"},
            ]
            logger = MetaLogger(**server.options(webhook_url=f"{three.url}/hook", alert_routes=routes))
            with logger:
                logger.critical("On bitcoin", symbol="BTCUSDT")
                logger.warning("Be careful", symbol="ETHUSDT")
                logger.info("Asked for", alert=True)
                logger.info("Nobody's")
                eventually(lambda: len(server.accepted) >= 2 and len(two.accepted) >= 2 and three.accepted)
                stats = logger.stats()["alerts"]
        chats = {str(payload["chat_id"]): payload["text"] for payload in server.accepted}
        assert chats.keys() == {"7", "42"}
        assert "On bitcoin" in chats["7"]
        assert "Asked for" in chats["42"]
        assert all(word in str(two.accepted) for word in ("On bitcoin", "Be careful"))
        assert "Asked for" in str(three.accepted)
        assert "Nobody" not in str([server.accepted, two.accepted, three.accepted])
        assert {"telegram", "telegram alert_routes[0]", "discord alert_routes[1]", "webhook"} == stats.keys()

    def test_a_test_goes_to_all(self, server: BotApi) -> None:
        """`alert-test` tries the addresses of routes too."""
        config = LoggerConfig(**server.options(alert_routes=[{"to": "telegram", "telegram_chat_id": 7}]))
        stamp = {"timestamp": "2026-11-22T10:31:00.123456Z", "severity": 6, "hostname": "h", "appname": "EmaBot"}
        alerts = Alerts(config, None, lambda *_: None, lambda level, text: {**stamp, "level": level, "message": text})
        assert alerts.test(20.0) == {"telegram": "", "telegram alert_routes[0]": ""}
        alerts.close(0.0)

    def test_a_heartbeat_goes_the_way_of_its_level(self, server: BotApi) -> None:
        """Start and stop go to the address of the settings, unless a route takes entries of INFO."""
        routes = [{"to": "telegram", "telegram_chat_id": 7}]
        MetaLogger(**server.options(alert_heartbeat=True, alert_routes=routes)).close()
        assert {str(payload["chat_id"]) for payload in server.accepted} == {"42"}
        routes = [{"to": "telegram", "level": "info", "telegram_chat_id": 7}]
        MetaLogger(**server.options(alert_heartbeat=True, alert_routes=routes, log_dir="other")).close()
        assert {str(payload["chat_id"]) for payload in server.accepted} == {"42", "7"}


class TestSettings:
    @pytest.mark.parametrize(
        ("routes", "says"),
        [
            ("telegram", 'alert_routes: should be a list of tables such as {"to": "telegram", "level": "critical"}'),
            ([5], "alert_routes[0]: should be a table"),
            (["{"], "alert_routes[0]: should be a table"),
            ([{}], "alert_routes[0].to: None should be telegram, discord or webhook"),
            ([{"to": "telegramm"}], "alert_routes[0].to: 'telegramm' should be telegram, discord or webhook"),
            ([{"to": ["telegram", 5]}], "alert_routes[0].to: "),
            ([{"to": "telegram"}, {"to": "telegram", "simbol": "B*"}],
             "alert_routes[1].simbol: no such option of a route; did you mean 'symbol'?"),
            ([{"to": "telegram", "level": "loud"}], "alert_routes[0].level: 'loud' should be DEBUG, INFO"),
            ([{"to": "telegram", "symbol": 5}], 'alert_routes[0].symbol: 5 should be a pattern such as "BTC*"'),
            ([{"to": "telegram", "expert": ""}], "alert_routes[0].expert: '' should be a pattern"),
            ([{"to": "telegram", "telegram_chat_id": "x"}], "alert_routes[0].telegram_chat_id: 'x' should be a number"),
            ([{"to": "telegram", "telegram_thread_id": 0}], "alert_routes[0].telegram_thread_id: 0 should be greater"),
            ([{"to": "webhook", "webhook_url": "ftp://secret-host/x"}],
             "alert_routes[0].webhook_url: the value (not shown) should be an address that begins with https://"),
            ([{"to": "telegram", "webhook_url": HOOK}],
             "alert_routes[0].webhook_url: the route goes to telegram, which does not have it"),
            ([{"to": "discord"}], "alert_routes[0].discord_webhook_url: the route goes to discord, and needs"),
        ],
    )  # fmt: skip
    def test_a_wrong_one_is_one_line(self, routes: Any, says: str) -> None:
        """It names the route, the field, the value unless it is secret, and what would be right."""
        with pytest.raises(ConfigurationError) as caught:
            LoggerConfig(**BASE, alert_routes=routes)
        (problem,) = caught.value.problems
        assert problem.message.startswith(says)
        assert problem.message.endswith("(argument in code)")
        assert "secret" not in problem.message

    def test_telegram_needs_its_token(self) -> None:
        """A route to Telegram without a bot is a contradiction."""
        with pytest.raises(ConfigurationError, match=r"^telegram_token: alert_routes\[0\] goes to telegram"):
            LoggerConfig(alert_routes=[{"to": "telegram", "telegram_chat_id": 1}])

    def test_every_source_has_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """pyproject.toml as tables, the environment and .env as JSON."""
        Path("pyproject.toml").write_text(
            '[tool.metaexpert.logger]\ntelegram_token = "123456789:AAaaBBbbCCccDDddEEeeFFffGGggHHhhIIi"\n'
            '[[tool.metaexpert.logger.alert_routes]]\nto = "telegram"\ntelegram_chat_id = 7\n'
        )
        assert LoggerConfig().alert_routes == [{"to": ["telegram"], "telegram_chat_id": "7"}]
        text = json.dumps([{"to": "webhook", "webhook_url": HOOK, "level": "warn"}])
        Path(".env").write_text(f"METAEXPERT_ALERT_ROUTES='{text}'\n")
        config = LoggerConfig(telegram_chat_id=5)
        assert config.alert_routes[0]["level"] == "WARNING"
        monkeypatch.setenv("METAEXPERT_ALERT_ROUTES", '[{"to": "telegram"}]')
        assert LoggerConfig(telegram_chat_id=5).alert_routes == [{"to": ["telegram"]}]

    def test_a_command_line_takes_them_without_secrets(self) -> None:
        """Each option is a table as JSON; one with a secret is refused, because `ps` shows it."""
        route = '{"to": "telegram", "telegram_chat_id": 7}'
        with command_line(given({"alert_routes": [route], "log_level": None})):
            assert LoggerConfig(**BASE).alert_routes == [{"to": ["telegram"], "telegram_chat_id": "7"}]
        with pytest.raises(InputError, match="alert_routes: an address or token does not belong on a command line"):
            given({"alert_routes": [route, json.dumps({"to": "webhook", "webhook_url": HOOK})]})

    def test_secrets_are_masked_everywhere(self) -> None:
        """`config show`, a pickled configuration, and text that holds the address."""
        route = {"to": "webhook", "webhook_url": HOOK, "webhook_token": "tokentoken"}
        config = pickle.loads(pickle.dumps(LoggerConfig(alert_routes=[route])))
        shown = json.dumps(config.sources()["alert_routes"].value)
        assert "very-secret" not in shown + repr(config)
        assert '"webhook_url": "***"' in shown
        config.register_secrets()
        assert "very-secret" not in mask_text(f"posting to {HOOK} failed")
