"""Words for what goes wrong on the way to an endpoint: which setting or variable to look at, and what to do.

Of an error only its kind and the system's words are shown, since its own text may quote an address with a token.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

#: Variables with files of authorities, of httpx and of requests.
HTTPX_CA: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_OTLP_CA: Final = "OTEL_EXPORTER_OTLP_CERTIFICATE"
REQUESTS_CA: Final = ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", _OTLP_CA, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SOCKS: Final = "it is a SOCKS proxy, which needs a library: pip install 'httpx[socks]' 'requests[socks]'"
_NO_PROXY: Final = "or name the endpoint's host in NO_PROXY"


def reason(error: BaseException, url: str, setting: str, ca_variables: Sequence[str] = HTTPX_CA) -> str:
    """Return what is wrong and what to do about it, in one line.

    Args:
        error: The exception of the library that sends.
        url: Where it was to send. Never shown.
        setting: The setting that says so.
        ca_variables: Variables in which the library looks for authorities.
    """
    chain, proxy = list(_chain(error)), proxy_variable(url)
    if proxy and (fault := _fault_of_proxy(chain)):
        return f"the proxy of the variable {proxy} cannot be used: {fault}, {_NO_PROXY}"
    untrusted = next((e for e in chain if isinstance(e, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        hint = f"if a proxy or firewall opens TLS, name the file of its authority in the variable {ca_variables[0]}"
        return f"the certificate is not trusted: {untrusted.verify_message}; {hint}"
    words = _words(chain)
    if any(isinstance(e, socket.gaierror) for e in chain):
        where = f"the proxy of the variable {proxy}" if proxy else setting
        return f"{words}: the host name of {where} cannot be resolved; check it, the network and its DNS"
    if _is_about_files(chain):
        found = next((name for name in ca_variables if os.environ.get(name)), None)
        hint = f"the variable {found} names authorities" if found else "pip install --force-reinstall certifi: its file"
        return f"{words}: {hint} that cannot be read"
    return f"{words} (through the proxy of the variable {proxy})" if proxy else words


def proxy_variable(url: str) -> str | None:
    """Return the variable of the environment whose proxy a request to *url* goes through, if any."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    names = (f"{parts.scheme}_proxy", "all_proxy")
    return next((found for name in names for found in (name, name.upper()) if os.environ.get(found)), None)


def _fault_of_proxy(chain: Sequence[BaseException]) -> str:
    for error in chain:
        text, kind = str(error), type(error).__name__
        if "SOCKS" in text or "socksio" in text:
            return _SOCKS
        if kind in ("InvalidProxyURL", "InvalidURL", "ProxySchemeUnknown") or "proxy URL" in text:
            return "its address is wrong; it should look like http://host:3128"
        if kind == "ProxyError" and (status := text[:3]).isdigit():
            login = "; it wants a login: http://user:password@host:3128" if status == "407" else ""
            return f"it answers {status}{login}"
    return ""


def _is_about_files(chain: Sequence[BaseException]) -> bool:
    missing = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    bundle = any(type(error) is OSError and "certificate" in str(error) for error in chain)  # of requests
    return bundle or any(isinstance(error, missing) or _is_bad_file(error) for error in chain)


def _is_bad_file(error: BaseException) -> bool:
    """Return whether a file of authorities holds none."""
    return isinstance(error, ssl.SSLError) and (error.library, error.reason) in (
        ("X509", "NO_CERTIFICATE_OR_CRL_FOUND"),
    )


def _words(chain: Sequence[BaseException]) -> str:
    """Return the type of the error, and the system's words for it."""
    name = type(chain[0]).__name__
    for error in chain:
        if isinstance(error, OSError) and error.strerror and not isinstance(error, UnicodeError):
            return name if error is chain[0] and name in error.strerror else f"{name}: {error.strerror}"
    return name


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* and what it came from, also what libraries keep in its arguments."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = next(
            (value for value in (*error.args, *vars(error).values()) if isinstance(value, BaseException)), None
        )
        error = error.__cause__ or error.__context__ or getattr(inner, "reason", None) or inner
