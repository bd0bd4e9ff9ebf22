"""Time stamps of seals (RFC 3161), as a server gave them. `rfc3161-client` (extra ``seal``) is imported when used."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any


class StampChecker:
    """Checks time stamps.

    Args:
        authorities: Certificates (PEM) of authorities that vouch for servers; without them a stamp is only read.

    Raises:
        ValueError: It is no file of certificates.
        OSError: It cannot be read.
    """

    def __init__(self, authorities: Path | None = None) -> None:
        self._roots: list[Any] = []
        if authorities is not None:
            from cryptography import x509  # noqa: PLC0415 - an extra

            self._roots = x509.load_pem_x509_certificates(authorities.read_bytes())

    def check(self, answer: bytes, data: bytes) -> tuple[str, str]:
        """Return why *answer* is no time stamp of *data*, or empty; and by when it says that data existed."""
        try:
            from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response  # noqa: PLC0415
        except ImportError:
            return "", "by a time that only the extra seal can read"
        try:
            response = decode_timestamp_response(answer)
            when = f"by {response.tst_info.gen_time:%Y-%m-%d %H:%M:%SZ}"
            if response.tst_info.message_imprint.message != sha256(data).digest():
                return "it is a time stamp of something else", ""
            if not self._roots:
                return "", f"{when}, as a time stamp says whose server was not checked (--tsa-ca)"
            builder = VerifierBuilder()
            for certificate in self._roots:
                builder = builder.add_root_certificate(certificate)
            builder.build().verify_message(response, data)
        except VerificationError as error:
            return f"the server is not vouched for: {error}", ""
        except ValueError as error:
            return f"it is no time stamp: {error}", ""
        return "", f"{when}, as a time stamp proves"
