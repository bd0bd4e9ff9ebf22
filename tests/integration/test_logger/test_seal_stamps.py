"""Time stamps of seals by a server on loopback, which answers with `openssl ts`; and what `openssl` says of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sealed_log import SealedLog, checked
from waiting import eventually

from metaexpert.logger import MetaLogger
from metaexpert.logger.seal.note import VerifierKey
from metaexpert.logger.seal.timestamps import TimeStamps, stamp
from metaexpert.logs import Logs
from metaexpert.logs.seal.prove import prove_order
from metaexpert.logs.seal.stamps import StampChecker
from metaexpert.logs.seal.verify import verify_seal
from metaexpert.logs.verify import Report

pytestmark = [
    pytest.mark.program,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
]

CONFIG = """
[tsa]
default_tsa = tsa_config
[tsa_config]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_chain = no
[tsa_ext]
extendedKeyUsage = critical,timeStamping
"""


def openssl(directory: Path, *words: str) -> str:
    done = subprocess.run(["openssl", *words], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


class Server(ThreadingHTTPServer):
    """Stamps what it is sent, or answers with `answer`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.answer: bytes | None = None
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/tsa"


class Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        directory = self.server.directory
        (directory / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.headers["Content-Type"] == "application/timestamp-query"
        answer = self.server.answer
        if answer is None:
            signer = ("-signer", "tsa.pem", "-inkey", "tsa.key")
            words = ("-queryfile", "query", "-config", "tsa.cnf", *signer, "-out", "reply")
            openssl(directory, "ts", "-reply", *words)
            answer = (directory / "reply").read_bytes()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A time stamping server with an authority of its own, ``ca.pem`` in its directory."""
    directory = tmp_path / "tsa"
    directory.mkdir()
    (directory / "tsa.cnf").write_text(CONFIG)
    (directory / "serial").write_text("01\n")
    for name, subject in (("ca", "/CN=Authority"), ("tsa", "/CN=Server")):
        openssl(directory, "genrsa", "-out", f"{name}.key", "2048")
        openssl(directory, "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    openssl(directory, "x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "9", "-out", "ca.pem")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "7", "-days", "9")
    extended = ("-extfile", "tsa.cnf", "-extensions", "tsa_ext")
    openssl(directory, "x509", "-req", "-in", "tsa.csr", *signed, *extended, "-out", "tsa.pem")
    with Server(directory) as found:
        Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def test_a_seal_is_stamped_and_openssl_verifies_it(server: Server, tmp_path: Path) -> None:
    """By the logger; `openssl ts -verify`, `logs verify` and a proof agree on it, with the authority and without."""
    options: dict[str, Any] = {"seal": True, "seal_anchor": "epoch", "seal_timestamp_url": server.url}
    logger = MetaLogger(install=False, log_to_console=False, **options)
    logger.trade.info("Order filled", order_id="ord-1")
    logger.close()
    seal, logs = Path("logs/.metaexpert/seal").resolve(), Logs((Path("logs"),))
    last = len((seal / "seals.jsonl").read_text("utf-8").splitlines()) - 1
    newest = seal / f"stamps/{last}.tsr"
    eventually(newest.exists)
    words = ("-data", str(seal / "checkpoint"), "-in", str(newest), "-CAfile", "ca.pem", "-untrusted", "tsa.pem")
    assert "Verification: OK" in openssl(server.directory, "ts", "-verify", *words)
    key, authority = VerifierKey.parse((seal / "vkey").read_text("ascii")), StampChecker(server.directory / "ca.pem")
    for stamps, wanted in ((None, "whose server was not checked"), (authority, "as a time stamp proves")):
        report = Report()
        verify_seal(logs, key, report, stamps=stamps)
        assert report.ok, report.problems
        assert any(wanted in remark and "the first 1 lines existed by" in remark for remark in report.remarks)
    [proof] = prove_order(logs, "ord-1")
    note = proof.seal.encode()
    assert authority.check(proof.stamp, note)[0] == ""
    assert "something else" in authority.check(proof.stamp, b"other")[0]
    assert "it is no time stamp" in authority.check(b"x", b"other")[0]
    new = ("-newkey", "rsa:2048", "-nodes", "-keyout", "o.key", "-subj", "/CN=Other", "-out", "o.pem")
    openssl(server.directory, "req", "-x509", *new)
    assert "not vouched for" in StampChecker(server.directory / "o.pem").check(proof.stamp, note)[0]
    newest.rename(newest.with_name("99.tsr"))
    assert [problem.kind for problem in checked(Path("logs"), key).problems] == ["anchor"]


def test_a_server_that_does_not_stamp_is_told_and_tried_again(server: Server, tmp_path: Path) -> None:
    """Nonsense, the stamp of something else, then an answer."""
    log, trouble = SealedLog(tmp_path / "logs"), list[str]()
    sealed = log.sealer.seal()
    stamps = TimeStamps(log.sealer.store, server.url, lambda text, error: trouble.append(f"{text}: {error}"))
    server.answer = b"nonsense"
    stamps.want(sealed.number, sealed.note)
    eventually(lambda: trouble)
    stamps.wait(10)
    assert "does not answer as it should" in trouble[0]
    server.answer = None
    other = stamp(server.url, b"other")
    server.answer = other
    with pytest.raises(OSError, match="something else"):
        stamp(server.url, sealed.note.encode())
    server.answer = None
    stamps._next = 0.0
    stamps.serve()
    stamps.wait(10)
    assert (log.sealer.store.path / f"stamps/{sealed.number}.tsr").exists()
    assert stamps._wanted is None
