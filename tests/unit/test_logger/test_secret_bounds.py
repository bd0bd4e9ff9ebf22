"""Masking takes linear time, and of a long value only what may be shown is searched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from metaexpert.logger.entry.values import Cleaner
from metaexpert.logger.masking import rules, shapes
from metaexpert.logger.masking.rules import Masker, Rules, mask_text, mask_tree

SIZE = 60_000
HTML = '<div class="c"><a href="/p?a=b&c=d">error: please wait</a> <input name="password"></div>\n'
PIECES = {
    "html": HTML,
    "json": json.dumps({"symbol": "BTCUSDT", "price": 1.5, "key_id": 7, "note": "a: b = c"}) + ",",
    "names": "token=config.token, ",
    "calls": "token=f(",
    "literals": "token=f('a1b2c3d4', ",
    "percent": "%22api_key%22%3A",
    "arrows": "api_key -> ",
    "aligned": "api_key" + " " * 40,
    "numbered": "mnemonic: 1. abandon 2. ability ",
    "flags": "secret={'a': True, ",
    "numbers": "secret=[12, 34, ",
    "named": '{"name":"API_KEY","value":',
    "sign-in": '{"op":"auth","args":["a",',
    "key beside": '{"key": "abcdefgh1", ',
    "streams": "streams=btcusdt@trade/",
    "providers": "https://rpc.ankr.com/eth/0a1b2c3d4e5f6071 ",
    "sentences": "api key ",
    "tracebacks": '  File "a.py", line 1\n    f(password=pw)\n',
    "triple quotes": 'token="""',
    "logins": "a:b@",
    "variables": "password=${",
    "templates": "password={a!r ",
    "account": "account id ",
    "fullwidth": "ａｐｉ＿ｋｅｙ＝",
    "stems": "keytokensecretpass",
}


def seconds(work: Callable[[], object]) -> float:
    """Return how long *work* takes, in seconds of this thread: the least of a few times."""
    best = 1e9
    for _ in range(3):
        begin = time.thread_time()
        work()
        best = min(best, time.thread_time() - begin)
    return best


def grows_linearly(piece: str) -> bool:
    """Return whether four times the text takes less than seven times as long."""
    texts = [piece * (size // len(piece)) for size in (SIZE // 4, SIZE)]
    small, large = (seconds(lambda text=text: mask_text(text)) for text in texts)  # type: ignore[misc]
    return large < 7 * max(small, 0.002)


@pytest.mark.storm
@pytest.mark.parametrize("name", PIECES)
def test_time_grows_with_the_length(name: str) -> None:
    """Four times the text takes about four times as long. A busy machine may spoil a measurement, but not four."""
    assert any(grows_linearly(PIECES[name]) for _ in range(4))


def test_no_more_is_searched_than_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long text the limit, and the longest secret beyond it; a secret across the limit is still seen whole."""
    searched: list[int] = []

    def find(text: str, names: Any, *_: Any) -> list[Any]:
        searched.append(len(text))
        return original(text, names)

    original = shapes.find_shapes
    monkeypatch.setattr(rules, "find_shapes", find)
    text, left_out = Masker(Rules()).text("word " * 199 + "token=Zk81Lq0ppR7aa " + "word " * 100_000, 1000)
    assert searched == [1000 + rules._MARGIN]
    assert text.endswith("token")
    assert left_out > 400_000


def test_a_fast_call_leaves_long_texts_to_the_chain() -> None:
    """Which cuts before it searches."""
    assert Rules().clear("word " * 1000)
    assert not Rules().clear("word " * 10_000)


CONTAINERS: dict[str, Callable[[int], Any]] = {
    "dict": lambda size: {f"level_{number}": number * 1.5 for number in range(size)},
    "dict of texts": lambda size: {f"level_{number}": f"order number {number} of many" for number in range(size)},
    "pairs": lambda size: [(number * 1.5, number) for number in range(size)],
    "pairs of texts": lambda size: [(f"price {number}", f"{number}") for number in range(size)],
    "dicts": lambda size: [{"px": str(number), "sz": str(number), "n": number} for number in range(size)],
    "names": lambda size: [{"account": number, "key_id": f"{number}", "signal": "BUY"} for number in range(size)],
    "secrets": lambda size: {f"token_{number}": "Zk81Lq0ppR7aa" for number in range(size)},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_time_grows_with_the_number_of_values(name: str) -> None:
    """Four times the values take about four times as long."""

    def linear() -> bool:
        small, large = (CONTAINERS[name](size) for size in (1000, 4000))
        return seconds(lambda: mask_tree({"book": large})) < 7 * max(seconds(lambda: mask_tree({"book": small})), 0.001)

    assert any(linear() for _ in range(4))


def test_large_numbers_of_numbers_cost_no_search() -> None:
    """A book of ten thousand pairs of numbers is masked in less time than it takes to clean them one by one."""
    book = CONTAINERS["pairs"](10_000)

    def cheap() -> bool:
        return seconds(lambda: mask_tree({"book": book})) < seconds(lambda: Cleaner(1 << 16, 1 << 20).clean([book]))

    assert any(cheap() for _ in range(4))
