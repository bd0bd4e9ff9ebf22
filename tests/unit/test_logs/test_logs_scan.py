"""Secrets in files: found by file, line and rule, and masked for others."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from metaexpert.logger import MetaLogger, register_secret
from metaexpert.logger.masking.rules import Rules
from metaexpert.logs.scan import Finding, Report, mask_lines, scan, scan_lines

PEM = ["-----BEGIN EC PRIVATE KEY-----", "MHcCAQEEIF0Lk1", "AwEHoUQDQgAE", "-----END EC PRIVATE KEY-----"]


def found(directory: Path, rules: Rules | None = None) -> list[tuple[str, int, str]]:
    """Return name, line and rule of each finding."""
    findings = scan(directory, Report(), rules) if rules else scan(directory, Report())
    return [(str(f.file.relative_to(directory)), f.line, f.rule) for f in findings]


def test_text_json_and_gzip_are_read(tmp_path: Path) -> None:
    """In the order of directories, files and lines; a rule once in a line."""
    (tmp_path / "old.log").write_text("ok\napi_key=abc api_key=def\n\npassword: hunter2 Bearer abc12345\n")
    entry = {
        "message": "token=abc",
        "context": {"apiKey": "k", "account_id": "123456789"},
        "list": ["eyJhbGciOi.eyJzdWIi.x"],
    }
    (tmp_path / "ours.log").write_text(json.dumps(entry) + "\n" + '{"token":null,"n":1}\n')
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.log.1.gz").write_bytes(gzip.compress(b"x\nX-MBX-APIKEY: abc\n"))
    assert found(tmp_path) == [
        ("old.log", 2, "name api_key"),
        ("old.log", 4, "name password"),
        ("old.log", 4, "bearer token"),
        ("ours.log", 1, "name token"),
        ("ours.log", 1, "name apiKey"),
        ("ours.log", 1, "jwt"),
        ("below/a.log.1.gz", 2, "name X-MBX-APIKEY"),
    ]


def test_what_the_logger_wrote_is_clean(tmp_path: Path) -> None:
    """Masked values and account numbers are no findings."""
    register_secret("s3cr3t-9")
    with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, account_id="acc-123456789") as logger:
        logger.info("api_key=abc s3cr3t-9 account_id=acc-123456789", api_key="abc", headers={"X-MBX-APIKEY": "k"})
        logger.error("Bearer abcdef123", url="https://u:p@h/?token=x")
    assert found(tmp_path / "logs") == []


def test_known_values_and_more_names(tmp_path: Path) -> None:
    """What is registered, and `extra_secret_keys`."""
    register_secret("s3cr3t-9")
    (tmp_path / "a.log").write_text('{"x":"s3cr3t-9"}\nvault_ref=abc\n')
    assert found(tmp_path, Rules(extra_keys=["vault ref"])) == [
        ("a.log", 1, "registered value"),
        ("a.log", 2, "name vault_ref"),
    ]


def test_binary_files_are_passed_over_and_broken_ones_told(tmp_path: Path) -> None:
    """A journal is no text; a gzip file that ends too early is read as far as it goes."""
    (tmp_path / "journal").write_bytes(b"\0\0api_key=abc\n" * 10)
    whole = gzip.compress(b"".join(b"line %d of the log\n" % number for number in range(9000)))
    (tmp_path / "cut.gz").write_bytes(whole[:-200])
    (tmp_path / "latin.log").write_bytes(b"Stra\xdfe api_key=abc\n")
    report = Report()
    assert [f.file.name for f in scan(tmp_path, report)] == ["latin.log"]
    assert report.files == 2
    assert [path.name for path in report.unreadable] == ["cut.gz"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is passed over."""
    os.mkfifo(tmp_path / "pipe")
    assert found(tmp_path) == []


def test_one_file_and_none() -> None:
    """A file may be given; what does not exist is an error."""
    Path("a.txt").write_text("pin=1234\n")
    assert list(scan(Path("a.txt"), Report())) == [Finding(Path("a.txt"), 1, "name pin")]
    with pytest.raises(FileNotFoundError):
        list(scan(Path("nowhere"), Report()))


def test_rules_never_show_a_secret() -> None:
    """Also when it stands in a name."""
    register_secret("s3cr3t9")
    for line in (b'{"s3cr3t9_token":"x"}', b"s3cr3t9_token=x"):
        assert "s3cr3t9" not in str(list(scan_lines([line])))


def test_lines_are_masked_for_others() -> None:
    """Line by line: JSON stays JSON, clean lines stay byte for byte, a private key goes as a whole."""
    lines = [
        b'{"a": 1,  "b": "clean"}\n',
        b'{"api_key": "abc", "n": 10, "url": "https://u:p@h/"}\n',
        b"caf\xe9 token=abc\r\n",
        b"plain\n",
        *(line.encode() + b"\n" for line in ["key:", *PEM]),
        b"last pin=1234",
    ]
    assert list(mask_lines(lines)) == [
        lines[0],
        b'{"api_key":"***","n":10,"url":"https://u:***@h/"}\n',
        b"caf\xe9 token=***\r\n",
        b"plain\n",
        b"key:\n",
        *[b"***\n"] * 4,
        b"last pin=***",
    ]
