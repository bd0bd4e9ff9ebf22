"""Finds secrets in existing files, ours and others', and masks the lines of files that are to be shared.

`metaexpert.logger.masking` decides what a secret is: registered values, names and shapes. A JSON line is judged by its
fields, any other line as text. A finding names file, line and rule, never the value. Nothing is written; a file may be
scanned while it is being written.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from metaexpert.logger.masking.rules import ACCOUNT_RULE, MASK, RULES, Masker, Rules, mask_tree

#: A longer line is scanned in pieces of so many bytes.
MAX_LINE: Final = 4 * 1024 * 1024
_HEAD: Final = 8192
_GZIP_MAGIC: Final = b"\x1f\x8b"
_PEM_END: Final = b"-----END "
_BEGIN: Final = b"-----BEGIN "
_PRIVATE: Final = b"PRIVATE KEY"


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret in a file.

    Attributes:
        file: The file.
        line: Number of the line, from 1.
        rule: The rule that found it, such as ``bearer token`` or ``name api_key``.
    """

    file: Path
    line: int
    rule: str


@dataclass(slots=True)
class Report:
    """The files of a scan.

    Attributes:
        files: Number of files read.
        lines: Number of lines.
        unreadable: Files that could not be read, or not to their end, and why.
    """

    files: int = 0
    lines: int = 0
    unreadable: dict[Path, str] = field(default_factory=dict)


def scan(path: Path, report: Report, rules: Rules = RULES) -> Iterator[Finding]:
    """Yield the secrets in the file *path*, or in all files below the directory *path*, in the order of their names.

    Gzip files are read too; other binary files are skipped.

    Args:
        path: A file or directory.
        report: Updated while the findings are consumed.
        rules: The rules of masking.

    Raises:
        FileNotFoundError: There is no such file or directory.
    """
    if not path.exists():
        raise FileNotFoundError(str(path))
    for file in _files(path, report):
        try:
            with _opened(file) as stream:
                if stream is None:
                    continue
                report.files += 1
                for number, rule in scan_lines(_counted(stream, report), rules):
                    yield Finding(file, number, rule)
        except (OSError, EOFError, zlib.error) as error:
            report.unreadable[file] = getattr(error, "strerror", None) or type(error).__name__


def scan_lines(lines: Iterable[bytes], rules: Rules = RULES) -> Iterator[tuple[int, str]]:
    """Yield line number (from 1) and rule of each secret in *lines*; each rule once per line."""
    for number, line in enumerate(lines, 1):
        found: list[str] = []
        decoded = _decoded(line)
        if decoded is None:
            found += [span.rule for span in rules.find(line.decode("utf-8", "replace"))]
        else:
            _collect(decoded, "", rules, found)
        # A name may hold a known value.
        yield from ((number, rules.mask(rule)[0]) for rule in dict.fromkeys(found) if rule != ACCOUNT_RULE)


def mask_lines(lines: Iterable[bytes], rules: Rules = RULES) -> Iterator[bytes]:
    """Yield *lines* with each secret in them as ``***``.

    A JSON line stays one, with the same fields; a line without a secret keeps its bytes. A private key over several
    lines is masked on all of them.
    """
    within = False
    for line in lines:
        end = line[len(line.rstrip(b"\r\n")) :]
        if within:
            within = _PEM_END not in line
            yield MASK.encode() + end
            continue
        decoded = _decoded(line)
        if decoded is not None:
            masked, count = mask_tree(decoded, rules)
            yield orjson.dumps(masked) + end if count or masked != decoded else line
            continue
        begin = line.rfind(_BEGIN)
        within = begin >= 0 and _PRIVATE in line[begin:] and _PEM_END not in line[begin:]
        text, count = rules.mask(line.decode("utf-8", "surrogateescape"))
        yield text.rstrip("\r\n").encode("utf-8", "surrogateescape") + end if count else line


def _decoded(line: bytes) -> Any:
    """Return the object that *line* is in JSON, or None."""
    if not line.startswith(b"{"):
        return None
    try:
        return orjson.loads(line)
    except ValueError:
        return None


def _collect(value: Any, parent: str, rules: Rules, found: list[str]) -> None:
    if isinstance(value, str):
        found += [span.rule for span in rules.find(value)]
    elif isinstance(value, list):
        for item in value:
            _collect(item, parent, rules, found)
    elif isinstance(value, dict):
        for name, item in value.items():
            _collect(name, "", rules, found)
            masker = Masker(rules)
            if kind := masker.kind(parent, name):
                masker.named(kind, item)
                found += [f"name {name}"] * min(masker.count, 1)
            else:
                _collect(item, name, rules, found)


def _files(path: Path, report: Report) -> Iterator[Path]:
    if not path.is_dir():
        if path.is_file():
            yield path
        else:  # a pipe may have no end, a device none either
            report.unreadable[path] = "it is no regular file"
        return

    def note(error: OSError) -> None:
        report.unreadable[Path(error.filename or path)] = error.strerror or type(error).__name__

    for directory, below, names in path.walk(on_error=note):
        below.sort()
        for name in sorted(names):
            file = directory / name
            if file.is_file():  # reading a pipe or a socket would block
                yield file
            elif not file.is_dir():
                report.unreadable[file] = "it is no regular file"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    """Open a file for its lines; give None for one that is neither text nor gzip."""
    with ExitStack() as stack:
        stream = stack.enter_context(path.open("rb"))
        if stream.peek(2)[:2] == _GZIP_MAGIC:
            stream = stack.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=stream)))
        yield None if b"\0" in stream.peek(_HEAD)[:_HEAD] else stream


def _counted(stream: BinaryIO, report: Report) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE):
        report.lines += 1
        yield line
