"""No pattern takes more than linear time, whatever the text."""

from __future__ import annotations

import os
import time

import pytest

from metaexpert.logger import register_secret
from metaexpert.logger.masking.rules import mask_text

#: Characters: a megabyte by night.
SIZE = 1_000_000 if os.environ.get("METAEXPERT_NIGHTLY") else 300_000
#: Starts, and pieces that are repeated up to the size: what the patterns begin with, over and over.
HOSTILE = {
    **{piece: ("", piece) for piece in ("a", "=", " ", "-", "\\", "1", "k=", "\"'", "%3D", "ü=:", "a.b-c_", "M.N.O.")},
    **{piece: ("", piece) for piece in ("token=", "token=a&", "token=a,b;", "api_key: ", "password=\n", "token: '")},
    **{piece: ("", piece) for piece in ("token=${", "token={{ a", '{"token":{', "auth=(", "auth=[[", "token=('")},
    **{piece: ("", piece) for piece in ("eyJ", "eyJaaaaa.", "://a:", "a:b@", "a:b@1.1.1.", "123456:", "Bearer ")},
    **{piece: ("", piece) for piece in ("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "--token ", "-u a:", "<token>")},
    **{
        piece: ("", piece) for piece in ("('token','", "['a', 'token', ", "ghp_", "xox", "webhooks/1/", "?sig=", "key ")
    },
    **{
        piece: ("", piece)
        for piece in ("api key is ", '\\"token\\":\\"', "&quot;", "api ", "account_id=(", "account_id=")
    },
    "escaped quotes": ('token="', '\\"'),
    "strings in brackets": ("token=(", '"\\'),
    "quotes in brackets": ("token=(", "'"),
    "user info": ("://", "a:"),
    "host": ("a:bb@", "a."),
    "words": ("mnemonic: ", "abandon "),
    "cookies": ("cookie: a", ";a"),
    "spaces": ("token", "\t"),
    "base64": ("Basic ", "A"),
    "discord": ("MTAw", "a-."),
    "nearly known": ("", "known-secret-of-some-lengt"),
}


def seconds(name: str, size: int) -> float:
    """Return how long it takes to mask a hostile text, in seconds of the processor."""
    start, piece = HOSTILE[name]
    text = start + piece * (size // len(piece))
    begin = time.process_time()
    mask_text(text)
    return time.process_time() - begin


def grows_linearly(name: str) -> bool:
    """Return whether four times the text took far less than sixteen times as long."""
    small = max(seconds(name, SIZE // 4), 0.02)  # less than that is the noise of a shared machine
    return seconds(name, SIZE) < min(10 * small, 20)


@pytest.mark.storm
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_takes_linear_time(name: str) -> None:
    """Four times the text takes far less than sixteen times as long, and the whole seconds at most."""
    register_secret("known-secret-of-some-length")
    # Whoever shares the machine may slow one measurement down, but not one after another always the longer text.
    assert any(grows_linearly(name) for _ in range(4))
