"""`metaexpert config doctor`, and `metaexpert --version --verbose`, in this process."""

import errno
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert._version import __version__
from metaexpert.cli.config import doctor
from metaexpert.logger.system import native

Cli = Callable[..., Any]
NAMES = ["metaexpert", "python", "system", "libraries", "core", "terminal", "configuration", "log_dir", "file_system"]
NAMES += ["locks", "journal", "endpoints"]


def free_port() -> int:
    """Return a port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def problems(cli: Cli) -> list[str]:
    """Return the problems that the doctor finds; its exit code agrees with them."""
    code, out, _ = cli("config", "doctor", "--json")
    found: list[str] = json.loads(out)["problems"]
    assert (code, json.loads(out)["ok"]) == (1 if found else 0, not found)
    return found


def test_a_healthy_machine_has_no_problem_and_nothing_is_left_behind(cli: Cli, tmp_path: Path) -> None:
    """Every part is named with what was found; the exit code is 0, and no file or directory is made."""
    code, out, err = cli("config", "doctor")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == NAMES
    assert f"{'.'.join(map(str, sys.version_info[:3]))}" in out
    assert "can be written" in out
    assert "durable" in out
    assert list(tmp_path.iterdir()) == []


def test_version_and_verbose_together_print_the_same_below_the_version(cli: Cli) -> None:
    """`--version` alone prints one line; `--verbose` alone is refused with what it goes with."""
    assert cli("--version") == (0, f"metaexpert {__version__}\n", "")
    code, out, _ = cli("--version", "--verbose")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["metaexpert", *NAMES]
    code, _, err = cli("--verbose")
    assert code == 2
    assert "--version" in err


def test_wrong_settings_are_problems_and_the_rest_is_still_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone whose configuration is wrong needs the report most."""
    monkeypatch.setenv("METAEXPERT_LOG_LEVEL", "1x")
    found = problems(cli)
    assert len(found) == 1
    assert "log_level: '1x'" in found[0]
    assert "python" in cli("config", "doctor").out


@pytest.mark.parametrize(
    "make", [lambda path: path.write_text(""), lambda path: path.symlink_to("nowhere")], ids=["file", "link"]
)
def test_a_log_directory_that_is_none_is_a_problem(cli: Cli, tmp_path: Path, make: Callable[[Path], object]) -> None:
    """A file, or a link to nowhere, where the directory should be; no other part fails for it."""
    make(tmp_path / "logs")
    assert "log_dir: log_dir 'logs'" in problems(cli)[0]


def test_locks_and_journal_that_do_not_work_are_told_with_the_consequence(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks fail files are not rotated; where nothing can be mapped, a crash costs what waits."""

    def fails(number: int) -> Callable[..., None]:
        def call(*_: object) -> None:
            raise OSError(number, "no such thing here")

        return call

    monkeypatch.setattr(doctor, "try_lock", fails(errno.ENOLCK))
    monkeypatch.setattr("mmap.mmap", fails(errno.ENODEV))
    locks, journal = problems(cli)
    assert locks == "locks: do not work: no such thing here; files are not rotated"
    assert journal.startswith("journal: in memory only: no such thing here")


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p"])
def test_a_network_file_system_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The journal is in memory there, as the logger itself decides."""
    monkeypatch.setattr(doctor, "file_system_of", lambda _: kind)
    assert problems(cli) == [
        "journal: in memory only: it is on a network file system; entries that wait are lost with the process"
    ]
    assert f"{kind}, over a network" in cli("config", "doctor").out


def test_each_endpoint_is_asked_and_no_secret_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers, one that refuses, a host without name; tokens inside addresses stay inside."""
    pytest.importorskip("opentelemetry", reason="the extra otel is not installed")
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    monkeypatch.setenv("METAEXPERT_SYSLOG_ADDRESS", f"tcp://127.0.0.1:{port}")
    monkeypatch.setenv("METAEXPERT_WEBHOOK_URL", f"http://127.0.0.1:{free_port()}/hook/topsecret-token")
    monkeypatch.setenv("METAEXPERT_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    with listening:
        code, out, _ = cli("config", "doctor")
    told = {line[2:15].strip(): line[0] for line in out.splitlines()}
    assert (code, told["webhook"], told["otlp"], told["syslog"]) == (1, "!", "!", " ")
    assert "topsecret" not in out


def test_why_nothing_is_compiled_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, a Python without the global lock, a missing module and one that does not load differ."""
    monkeypatch.setattr(doctor, "core", None)
    monkeypatch.setenv(native.PURE, "1")
    assert "pure Python: METAEXPERT_PURE_PYTHON is set to 1" in cli("config", "doctor").out
    monkeypatch.delenv(native.PURE)
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert "without the global lock" in native.why_pure()
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True)

    def imports(error: BaseException) -> Callable[[str], None]:
        def call(_: str) -> None:
            raise error

        return call

    monkeypatch.setattr(native, "import_module", imports(ModuleNotFoundError("no")))
    assert native.why_pure().endswith("when the package was installed")
    monkeypatch.setattr(native, "import_module", imports(ImportError("DLL load failed")))
    assert native.why_pure() == "the compiled core cannot be loaded: DLL load failed"
    monkeypatch.setattr(native, "import_module", lambda _: None)
    assert native.why_pure() == "the compiled core could not be loaded when the program started"
