"""What the commands on seals read: keys, anchors, authorities, and the extra that they need."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metaexpert.cli import output

if TYPE_CHECKING:
    from metaexpert.logger.seal.note import VerifierKey
    from metaexpert.logs import Logs
    from metaexpert.logs.seal.stamps import StampChecker
    from metaexpert.logs.verify import Report

_MOST: Final = 64 * 1024 * 1024


def need_extra() -> None:
    """Raise InputError unless the extra ``seal`` is installed."""
    try:
        import cryptography  # noqa: F401, PLC0415
    except ImportError:
        raise output.InputError("seals need the extra seal: pip install 'metaexpert[seal]'") from None


def text_of(name: str, what: str) -> str:
    """Return the text of a file, or of standard input for ``-``. Raises InputError."""
    try:
        data = sys.stdin.buffer.read(_MOST) if name == "-" else Path(name).read_bytes()
        return data.decode("utf-8", "surrogateescape")
    except OSError as error:
        raise output.InputError(f"{what} {name} cannot be read: {error.strerror or error}") from None


def key_of(name: str) -> VerifierKey:
    """Return the verification key in a file, or on standard input. Raises InputError."""
    need_extra()
    from metaexpert.logger.seal.note import FormatError, VerifierKey  # noqa: PLC0415 - for seals alone

    try:
        return VerifierKey.parse(text_of(name, "the key"))
    except FormatError as error:
        raise output.InputError(f"--seal {name}: {error}") from None


def stamp_checker(authorities: str | None) -> StampChecker:
    """Return what checks time stamps. Raises InputError: the file holds no certificates."""
    from metaexpert.logs.seal.stamps import StampChecker  # noqa: PLC0415 - for seals alone

    try:
        return StampChecker(Path(authorities) if authorities else None)
    except (OSError, ValueError) as error:
        raise output.InputError(f"--tsa-ca {authorities} holds no certificates: {error}") from None


def verify_seal_into(report: Report, logs: Logs, key: str, anchors: Sequence[str], authorities: str | None) -> None:
    """Check the sealed logs of *logs*, and add to *report* what was found. Raises InputError."""
    found, stamps = key_of(key), stamp_checker(authorities)
    from metaexpert.logs.seal.verify import verify_seal  # noqa: PLC0415 - for seals alone

    texts = [text_of(name, "the anchor") for name in anchors]
    try:
        verify_seal(logs, found, report, anchors=texts, stamps=stamps)
    except OSError as error:
        raise output.InputError(f"the seal cannot be read: {error}") from None
