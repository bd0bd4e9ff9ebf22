"""A secret, wherever it is put into an entry, comes out of no sink."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples
from pydantic import SecretStr

from metaexpert import MetaExpert
from metaexpert.logger import LoggerConfig, MetaLogger, get_logger, log_context, register_secret, trade_context
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.testing import reset


@dataclasses.dataclass
class Holder:
    """An object that shows what it holds."""

    inner: Any


class Speaking(Exception):
    """An error whose text is what it was given."""


others = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Cs", "Cc", "Zs"])
alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_-!$%&'\"\\{}<>"
# They begin with something that no word of the program does.
secrets = st.one_of(st.text(alphabet, min_size=5, max_size=60), st.text(others, min_size=5)).map("q7Z".__add__)
forms: list[Callable[[str], str]] = [
    str,
    lambda s: quote(s, safe=""),
    lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    lambda s: f"before{s}after",
    lambda s: json.dumps({"a": s}),
]
wraps: list[Callable[[Any], Any]] = [
    lambda v: [v],
    lambda v: {"deep": v},
    lambda v: {str(v): 1},
    lambda v: (1, v),
    lambda v: Holder(v),
    lambda v: {v} if isinstance(v, str) else [v],
    lambda v: f"text {v} text",
    lambda v: Path(str(v).replace("\0", "")),
    lambda v: str(v).encode(),
]


def fail(text: str, kind: int) -> None:
    """Raise an error with *text* in it: plainly, as a cause, in a group, as a note."""
    if kind == 0:
        raise Speaking(text)
    if kind == 1:
        try:
            raise Speaking(text)
        except Speaking as error:
            raise ValueError("outer") from error
    if kind == 2:
        raise ExceptionGroup("group", [Speaking(text), ValueError("other")])
    noted = ValueError("noted")
    noted.add_note(text)
    raise noted


def log_everywhere(logger: Any, text: str, value: Any) -> None:
    """Put *text* and *value* into everything that an entry is made of."""
    logger.info(text)
    logger.info("args %s and %r", text, value)
    logger.info("bad args %d", text)
    logger.info("value", field=value, other=[value, {"a": text}])
    logger.info("name", **{text.replace("\0", ""): 1})
    logger.bind(bound=value).warning("bound")
    logger.trade.debug("trade", field=value)
    get_logger(f"named {text}").info("logger")
    with log_context(context=value), trade_context(order_id=text):
        logger.info("context")
    for kind in range(4):
        try:
            fail(text, kind)
        except Exception:
            logger.exception("failed", field=value)
            logging.getLogger("other.library").exception("failed with %s", text)
    logger.error("stack", stack_info=f"Stack:\n  {text}")
    logging.getLogger("other.library").warning("record %s", text, extra={"more": value})
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(text, UserWarning, stacklevel=1)
    logger._logger.pipeline.directory.diagnostics.report(f"test {text}", f"trouble {text}", error=ValueError(text))


@pytest.fixture
def printed(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function that returns what was printed since the last time."""
    return lambda: "".join(capfd.readouterr())


def files() -> Iterator[str]:
    """Yield the files of the log directory, the journals included."""
    for path in Path("logs").rglob("*"):
        if path.is_file():
            yield path.read_bytes().decode("utf-8", "replace")


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    secret=secrets,
    form=st.sampled_from(forms),
    path=st.lists(st.sampled_from(wraps), max_size=4),
    options=st.sampled_from(
        [
            {},
            {"json_logging": True},
            {"layout": "rfc5424"},
            {"async_logging": False},
            {"mask_secrets": False},
            {"max_value_length": 100, "max_entry_size": 2048},
        ]
    ),
)
def test_a_known_secret_comes_out_nowhere(
    printed: Callable[[], str], secret: str, form: Any, path: list[Any], options: dict[str, Any]
) -> None:
    """In any form, at any depth, in files, journals, on the console, after close, and in each layout."""
    registered.forget()
    register_secret(secret)
    text = value = form(secret)
    for wrap in path:
        value = wrap(value)
    logger = MetaLogger(log_level="DEBUG", install=True, **options)
    log_everywhere(logger, text, value)
    for written in (*_read(), *files()):
        assert_hidden(written, secret, text)
    logger.close()
    logger.warning(text, field=value)
    for name in ("expert.log", "trades.log", "errors.log", "logging_errors.log"):
        for line in (Path("logs") / name).read_bytes().splitlines():
            json.loads(line)
    for written in (printed(), *files()):
        assert_hidden(written, secret, text)
    reset()
    for found in Path("logs").glob("*.log"):
        found.unlink()


def _read() -> Iterator[str]:
    for path in Path("logs").glob("*.log"):
        yield path.read_text("utf-8")


def assert_hidden(written: str, *secrets: str) -> None:
    """Fail when one of *secrets* stands in what was written, as it is or escaped for JSON."""
    for secret in secrets:
        assert secret not in written
        assert json.dumps(secret)[1:-1] not in written
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in written


SHOWN = "4u7h-S3cr3t-91bc"


class TestPlaces:
    """One by one, what the property cannot reach."""

    def test_credentials_of_an_expert(self, printed: Callable[[], str]) -> None:
        """Key, secret and passphrase of MetaExpert are known, whoever logs them."""
        given_credentials = {
            "api_key": f"{SHOWN}-k",
            "api_secret": SecretStr(f"{SHOWN}-s"),
            "api_passphrase": f"{SHOWN}-p",
        }
        expert = MetaExpert("binance", **given_credentials)  # type: ignore[arg-type]
        for last in "ksp":
            expert.logger.info(f"signing with {SHOWN}-{last}", x=[f"{SHOWN}-{last}"])
        expert.logger.info("expert", expert=expert, config=expert.config)
        expert.close()
        assert SHOWN not in printed() + Path("logs/expert.log").read_text() + repr(expert) + repr(vars(expert))

    def test_before_there_is_a_logger(self, printed: Callable[[], str]) -> None:
        """A logger that prints to standard error because none is installed masks too."""
        register_secret(SHOWN)
        log = get_logger("early", api_key="k-5566", nested={"token": "t-5566"})
        log.info(f"starting with {SHOWN}", header=SHOWN)
        try:
            raise ValueError(SHOWN)
        except ValueError:
            log.exception("failed")
        text = printed()
        assert "starting with ***" in text
        assert not any(secret in text for secret in (SHOWN, "k-5566", "t-5566"))

    def test_a_secret_across_the_limit_is_masked_before_it_is_cut(self) -> None:
        """A part of a secret is a secret."""
        register_secret(SHOWN)
        with MetaLogger(log_to_console=False, max_value_length=64) as logger:
            for length in range(40, 70):
                logger.info("x" * length + SHOWN, value="y" * length + SHOWN + "z" * 9000)
                try:
                    raise ValueError("v" * (4096 - length) + SHOWN)
                except ValueError:
                    logger.exception("m")
        text = "".join(_read())
        assert SHOWN[:4] not in text
        assert "…[cut " in text

    def test_masked_counts_and_is_absent_otherwise(self, read_log: Any) -> None:
        """How many secrets there were; a field of the caller's own of that name is kept."""
        with MetaLogger(log_to_console=False, account_id="acc-123456789") as logger:
            logger.info("plain", masked="mine")
            logger.info("token=abc", api_key="k", headers={"X-MBX-APIKEY": "k", "Host": "h"})
            logger.info("own", masked="mine", pin=1234)
            logger.bind(session_id="abc").info("bound")
            logger.bind(session_id="abc").info("bound", otp=123456)
        entries = read_log("logs/expert.log")
        assert [entry.get("masked") for entry in entries] == ["mine", 3, 1, 1, 2]
        assert entries[2]["field_masked"] == "mine"
        assert {entry["account_id"] for entry in entries} == {"***6789"}

    def test_what_is_registered_later_is_masked_from_then_on(self, read_log: Any) -> None:
        """In contexts, messages, names and loggers that were used before."""
        logger = MetaLogger(log_to_console=False).bind(note=SHOWN)
        with log_context(context=SHOWN):
            for number in range(3):
                logger.info(SHOWN, **{SHOWN: 1}, value=SHOWN, number=number)
            register_secret(SHOWN)
            for number in range(3):
                logger.info(SHOWN, **{SHOWN: 1}, value=SHOWN, number=number)
        logger.info(SHOWN)
        logger.close()
        lines = Path("logs/expert.log").read_text().splitlines()
        assert [line.count(SHOWN) for line in lines] == [5, 5, 5, 0, 0, 0, 0]

    def test_own_processors_may_add_secrets(self) -> None:
        """Masking comes after them."""

        def add(_: Any, __: str, event: Any) -> Any:
            return {**event, "added": SHOWN, "api_key": "k-5566"}

        register_secret(SHOWN)
        with MetaLogger(log_to_console=False, processors=[add]) as logger:
            logger.info("m")
        text = Path("logs/expert.log").read_text()
        assert SHOWN not in text
        assert "k-5566" not in text

    def test_without_masking_only_what_is_known_is_hidden(self, read_log: Any) -> None:
        """`mask_secrets=False`: names and shapes stay, known values and SecretStr do not."""
        with MetaLogger(
            log_to_console=False, mask_secrets=False, secrets=[SHOWN], account_id="acc-123456789"
        ) as logger:
            logger.info(f"token=abc {SHOWN}", api_key="k", hidden=SecretStr("xyz"))
        entry = read_log("logs/expert.log")[0]
        assert (entry["message"], entry["api_key"], entry["hidden"]) == ("token=abc ***", "k", "***")
        assert (entry["account_id"], entry["masked"]) == ("acc-123456789", 2)

    def test_extra_keys_belong_to_one_logger(self, read_log: Any) -> None:
        """`extra_secret_keys` of one configuration do not touch another's entries."""
        with MetaLogger(log_to_console=False, extra_secret_keys=["vault ref"]) as logger:
            logger.info("vaultRef=abc", vault_ref="abc")
        with MetaLogger(log_to_console=False, log_dir="others") as logger:
            logger.info("vaultRef=abc", vault_ref="abc")
        assert read_log("logs/expert.log")[0]["message"] == "vaultRef=***"
        assert read_log("logs/expert.log")[0]["vault_ref"] == "***"
        assert read_log("others/expert.log")[0]["vault_ref"] == "abc"

    def test_reprs_of_our_own_objects(self) -> None:
        """Of configuration, errors, contexts and loggers."""
        config = LoggerConfig(secrets=[SHOWN], log_to_console=False)
        logger = MetaLogger(config).bind(api_key=SHOWN)
        objects = [config, logger, log_context(api_key=SHOWN), get_logger("x", api_key=SHOWN), registered, sys.modules]
        assert SHOWN not in " ".join(map(repr, objects))
