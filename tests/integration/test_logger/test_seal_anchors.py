"""Checkpoints that leave the machine by a chat, a collector and a syslog server, and are compared with the log."""

from __future__ import annotations

import html
import re
import shutil
import socketserver
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import LoopbackServer
from scripted_server import BotApi
from syslog_servers import Server, missing
from waiting import eventually

from metaexpert.__main__ import main
from metaexpert.logger import MetaLogger

json_format = pytest.importorskip("google.protobuf.json_format")
pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
collectors = pytest.importorskip("collector")
pytest.importorskip("cryptography")


class Syslog(LoopbackServer):
    """A syslog server that writes what it receives over TCP to a file, as it comes."""

    def __init__(self, file: Path) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while data := self.connection.recv(65536):
                    with file.open("ab") as out:
                        out.write(data)

        super().__init__(Handler)


def written_to(file: Path) -> Callable[[Any], None]:
    """Return what writes a collector's requests to a file, as JSON."""

    def write(request: Any) -> None:
        with file.open("a", encoding="utf-8") as out:
            out.write(json_format.MessageToJson(request))

    return write


def shown(text: str) -> str:
    """Return a message as Telegram shows it."""
    return html.unescape(re.sub(r"</?(?:b|i|code|pre)>", "", text))


def sealed_lines(text: str) -> set[int]:
    """Return of how many lines the checkpoints in a text are."""
    end = r"(?:\n|\\+n|\\+u000a)"
    return {int(size) for size in re.findall(rf"metaexpert\\*/[0-9a-f]{{16}}{end}(\d+){end}", text)}


def wait_for(lines: int, text: Callable[[], str]) -> None:
    """Wait until a text has the checkpoint of so many lines."""
    eventually(lambda: lines in sealed_lines(text()))


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Servers that write what they receive to files, and the settings of a logger that sends to them."""
    taken = written_to(tmp_path / "collector")
    with BotApi() as bot, collectors.Collector(taken) as collector, Syslog(tmp_path / "syslog") as syslog:
        addresses = {"otlp_endpoint": f"http://{collector.place}", "syslog_address": f"tcp://{syslog.place}"}
        yield {"bot": bot, "options": bot.options(**addresses, seal=True, seal_epoch=1, seal_anchor="epoch")}


def verify(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["logs", "verify", "--seal", "bot.key", *words])
    return code, capfd.readouterr().out


def test_what_witnesses_received_checks_the_log(witnesses: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """Each witness proves what was sealed, and that a log was put back to an older state of itself."""
    bot = witnesses["bot"]
    files: dict[str, Callable[[], str]] = {
        "chat": lambda: "\n".join(map(shown, bot.texts)),
        "collector": lambda: Path("collector").read_text("utf-8") if Path("collector").exists() else "",
        "syslog": lambda: Path("syslog").read_text("utf-8") if Path("syslog").exists() else "",
    }
    with MetaLogger(install=False, **witnesses["options"]) as logger:
        logger.trade.info("Order filled", order_id="ord-1")
        for text in files.values():
            wait_for(1, text)
    assert main(["logs", "seal", "--key-out", "bot.key"]) == 0
    shutil.copytree("logs", "older")
    with MetaLogger(install=False, **witnesses["options"]) as logger:
        for number in range(2, 9):
            logger.trade.info("Order filled", order_id=f"ord-{number}")
        for text in files.values():
            wait_for(8, text)
    Path("chat").write_text(files["chat"](), "utf-8")
    for name in files:
        code, out = verify(capfd, "--anchor", name)
        assert (code, "a witness has seen the first 8 lines" in out) == (0, True), (name, out)
    assert main(["logs", "prove", "ord-1", "-o", "proof"]) == 0
    shutil.rmtree("logs")
    Path("older").rename("logs")
    assert verify(capfd)[0] == 0
    for name in files:
        code, out = verify(capfd, "--anchor", name)
        assert (code, "a checkpoint of 8 lines" in out, "it was cut back or made anew" in out) == (1, True, True), name


@pytest.mark.server
@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("kind", ["rsyslog", "syslog-ng"])
def test_what_a_syslog_server_wrote_checks_the_log(
    kind: str, transport: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The file of a real rsyslogd and syslog-ng, as its configuration in `deploy/` writes it, is an anchor as it is."""
    if why := missing(kind):
        pytest.skip(why)
    server = Server(kind, "network", tmp_path / "server")
    address = f"{transport}://127.0.0.1:{server.tls_port if transport == 'tls' else server.port}"
    options: dict[str, Any] = {"syslog_address": address, "seal": True, "seal_epoch": 1, "log_to_console": False}
    if transport == "tls":
        options["syslog_ca_file"] = str(tmp_path / "server/tls/ca.pem")
    try:
        server.start()
        for first, last in ((1, 1), (2, 8)):
            with MetaLogger(install=False, **options) as logger:
                for number in range(first, last + 1):
                    logger.trade.info("Order filled", order_id=f"ord-{number}")
                wait_for(last, lambda: server.output.read_text("utf-8") if server.output.exists() else "")
            if first == 1:
                assert main(["logs", "seal", "--key-out", "bot.key"]) == 0
                shutil.copytree("logs", "older")
    finally:
        server.kill()
    code, out = verify(capfd, "--anchor", str(server.output))
    assert (code, "a witness has seen the first 8 lines" in out) == (0, True), out
    shutil.rmtree("logs")
    Path("older").rename("logs")
    code, out = verify(capfd, "--anchor", str(server.output))
    assert (code, "a checkpoint of 8 lines" in out, "it was cut back or made anew" in out) == (1, True, True), out


def test_a_checkpoint_in_the_chat_is_the_seal_of_a_proof(
    witnesses: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """Put below the hashes of a proof, a checkpoint that the chat has shown completes it."""
    bot = witnesses["bot"]
    with MetaLogger(install=False, **witnesses["options"]) as logger:
        logger.trade.info("Order filled", order_id="ord-1")
    assert main(["logs", "prove", "ord-1", "-o", "proof"]) == 0
    proof = Path("proof").read_text("utf-8")
    head, _, note = proof.partition("\n\n")
    messages = [shown(text) for text in bot.texts if note.split("\n")[-2].split()[-1] in text]
    assert messages
    found = re.search(r"(metaexpert/[0-9a-f]{16}\n(?:.+\n)+\n— .+)", messages[0])
    assert found is not None
    Path("with-chat").write_text(f"{head}\n\n{found[1]}\n", "utf-8")
    capfd.readouterr()
    assert main(["logs", "check-proof", "with-chat"]) == 0
    assert '"order_id":"ord-1"' in capfd.readouterr().out
    Path("with-chat").write_text(f"{head}\n\n{found[1].replace('first 0', 'first 1')}\n", "utf-8")
    assert main(["logs", "check-proof", "with-chat"]) == 1
