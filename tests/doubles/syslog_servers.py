"""Real rsyslogd and syslog-ng on loopback, with the configurations of `deploy/`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from waiting import eventually

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
#: Where Debian's rsyslog was unpacked: its package and that of syslog-ng exclude each other.
ROOT = Path(os.environ.get("RSYSLOG_ROOT", "/"))
RSYSLOGD = ROOT / "usr/sbin/rsyslogd"
SYSLOG_NG = shutil.which("syslog-ng", path="/usr/sbin:/usr/bin:/sbin")
_PATIENCE = 30.0


def missing(kind: str) -> str:
    """Return what is missing for a server of *kind*; nothing when it can run."""
    if kind == "rsyslog":
        if not RSYSLOGD.exists():
            return "needs Debian's rsyslog and rsyslog-gnutls (RSYSLOG_ROOT: where they were unpacked)"
        return "" if any(ROOT.glob("usr/lib/*/rsyslog/lmnsd_gtls.so")) else "needs Debian's rsyslog-gnutls"
    return "" if SYSLOG_NG else "needs Debian's syslog-ng-core"


def free_port() -> int:
    """Return a port that nobody has, for TCP and UDP."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def certificates(place: Path) -> None:
    """Make an authority, and a certificate of 127.0.0.1 and localhost, with openssl."""
    place.mkdir(exist_ok=True)

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl("req", "-x509", *new, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=Test authority",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    openssl("req", *new, "-keyout", "server-key.pem", "-out", "server.csr", "-subj", "/CN=localhost")
    (place / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-out", "server.pem", "-days", "2", "-extfile", "names")  # fmt: skip


class Server:
    """One server with one of our configurations.

    Args:
        kind: ``rsyslog`` or ``syslog-ng``.
        what: ``network`` or ``files``.
        place: Where its configuration, state and output lie.
        bots: Directory that it follows files in.
    """

    def __init__(self, kind: str, what: str, place: Path, bots: Path | None = None) -> None:
        self.kind = kind
        self.place = place
        self.port, self.tls_port = free_port(), free_port()
        self.output = place / f"{what}.jsonl"
        self.process: subprocess.Popen[bytes] | None = None
        (place / "state").mkdir(parents=True, exist_ok=True)
        certificates(place / "tls") if what == "network" else None
        text = (DEPLOY / kind / f"metaexpert-{what}.conf").read_text("utf-8")
        for old, new in {
            "/etc/ssl/metaexpert": str(place / "tls"),
            f"/var/log/metaexpert/{what}.jsonl": str(self.output),
            "/var/lib/bots": str(bots),
            '"10514"': f'"{self.port}"',
            '"6514"': f'"{self.tls_port}"',
            "port(10601)": f"port({self.port})",
            "port(6514)": f"port({self.tls_port})",
        }.items():
            text = text.replace(old, new)
        first = f'global(workDirectory="{place / "state"}")\n' if kind == "rsyslog" else "@version: 3.38\n"
        self._configuration = place / "server.conf"
        self._configuration.write_text(first + text)

    def start(self) -> None:
        """Start, and wait until it listens."""
        with (self.place / "errors").open("ab") as errors:
            self.process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL, stderr=errors)
        if "files" not in self.output.name:
            eventually(self._listens, _PATIENCE)

    def _listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.place / "errors").read_text("utf-8", "replace")
        return _listens(self.port) and _listens(self.tls_port)

    def _command(self) -> list[str]:
        if self.kind == "rsyslog":
            modules = next(ROOT.glob("usr/lib/*/rsyslog"))
            pid = self.place / "pid"
            pid.unlink(missing_ok=True)
            return [str(RSYSLOGD), "-n", "-M", str(modules), "-f", str(self._configuration), "-i", str(pid)]
        state = self.place / "state"
        return [
            str(SYSLOG_NG), "--foreground", "--no-caps", "-f", str(self._configuration), "-R", str(state / "persist"),
            "-p", str(state / "pid"), "-c", str(state / "control"),
        ]  # fmt: skip

    def stop(self) -> None:
        """Stop as an operator does: it may finish what it has."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(_PATIENCE)
            self.process = None

    def kill(self) -> None:
        """Stop at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def lines(self) -> int:
        """Return how many entries were written."""
        return self.output.read_bytes().count(b"\n") if self.output.exists() else 0

    def objects(self) -> list[dict[str, Any]]:
        """Return what was written."""
        return [json.loads(line) for line in self.output.read_text("utf-8").splitlines()]

    def entries(self) -> list[dict[str, Any]]:
        """Return what was received, as flat entries."""
        return [entry_of(found) for found in self.objects()]


def entry_of(found: dict[str, Any]) -> dict[str, Any]:
    """Return the entry that a server's JSON object tells of: an inverse of ours that knows nothing of our code."""
    data: Any = found.get("structured_data") or found["_SDATA"]
    data = json.loads(data) if isinstance(data, str) else data
    header = {key.lower(): value for key, value in found.items()}
    entry = {
        "timestamp": str(header["timestamp"]).replace("+00:00", "Z"),
        "severity": int(header["severity"]),
        "facility": int(header["facility"]),
        "hostname": header.get("hostname", header.get("host")),
        "appname": header.get("appname", header.get("program")),
        "procid": str(header.get("procid", header.get("pid"))),
        "msgid": header["msgid"],
        "message": _text(header["message"].removeprefix("\ufeff")),
        "sequence_id": int(next(v for k, v in data["meta"].items() if k.lower() == "sequenceid")),
    }
    elements = {sd_id.partition("@")[0].lower(): parameters for sd_id, parameters in data.items()}
    typed = str(elements.get("types", {}).get("json", "")).split()
    for sd_id in ("context", "fields"):
        for name, value in elements.get(sd_id, {}).items():
            entry[name] = json.loads(value) if name in typed else _text(value)
    return entry


def _text(escaped: str) -> str:
    """Undo the escapes of control characters."""
    return escaped.replace("\\u000a", "\n").replace("\\u0009", "\t").replace("\\u001b", "\x1b")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
