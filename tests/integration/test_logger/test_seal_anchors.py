"""Checkpoints that leave the machine by a chat, a collector and a syslog server, and are compared with the log."""

from __future__ import annotations

import gzip
import html
import re
import shutil
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from loopback import LoopbackServer
from scripted_server import BotApi
from waiting import eventually

from metaexpert.__main__ import main
from metaexpert.logger import MetaLogger

json_format = pytest.importorskip("google.protobuf.json_format")
logs_service = pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2")
pytest.importorskip("cryptography")


class Collector(LoopbackServer):
    """An OpenTelemetry collector that writes what it receives to a file, as JSON."""

    def __init__(self, file: Path) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
                with file.open("a", encoding="utf-8") as out:
                    out.write(json_format.MessageToJson(logs_service.ExportLogsServiceRequest.FromString(body)))
                answer = logs_service.ExportLogsServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(Handler)


class Syslog:
    """A syslog server that writes what it receives over TCP to a file, as it comes."""

    def __init__(self, file: Path) -> None:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while data := self.connection.recv(65536):
                    with file.open("ab") as out:
                        out.write(data)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.address = f"tcp://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Syslog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def shown(text: str) -> str:
    """Return a message as Telegram shows it."""
    return html.unescape(re.sub(r"</?(?:b|i|code|pre)>", "", text))


def sealed_lines(text: str) -> set[int]:
    """Return of how many lines the checkpoints in a text are."""
    end = r"(?:\n|\\+n|\\+u000a)"
    return {int(size) for size in re.findall(rf"metaexpert/[0-9a-f]{{16}}{end}(\d+){end}", text)}


def wait_for(lines: int, text: Callable[[], str]) -> None:
    """Wait until a text has the checkpoint of so many lines."""
    eventually(lambda: lines in sealed_lines(text()))


@pytest.fixture
def witnesses(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Servers that write what they receive to files, and the settings of a logger that sends to them."""
    with BotApi() as bot, Collector(tmp_path / "collector") as collector, Syslog(tmp_path / "syslog") as syslog:
        addresses = {"otlp_endpoint": f"http://{collector.place}", "syslog_address": syslog.address}
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
