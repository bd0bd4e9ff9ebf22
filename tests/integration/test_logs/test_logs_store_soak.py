"""A million entries of a store, streamed in bounded memory."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import victorialogs
from victorialogs import VictoriaLogs

from metaexpert.logs import open_logs

resource = pytest.importorskip("resource")  # not on Windows

START = datetime(2026, 11, 22, tzinfo=UTC)
STEP = timedelta(milliseconds=7)
COUNT = 1_000_000 if os.environ.get("METAEXPERT_NIGHTLY") else 50_000


class Rows:
    """So many rows, made when they are asked for: their times are known from their numbers."""

    def __init__(self) -> None:
        self.asked = 0

    def __iter__(self) -> Iterator[victorialogs.Row]:
        """Yield none: the query is answered by `answer`."""
        return iter(())

    def answer(self, query: str) -> Iterator[victorialogs.Row]:
        """Return the first rows of the stretch that a query names."""
        low, high = (re.search(rf"_time:{sign}(\S+)", query) for sign in (">=", "<"))
        first = 0 if low is None else max(0, -(-(datetime.fromisoformat(low[1]) - START) // STEP) - 1)
        while low is not None and START + first * STEP < datetime.fromisoformat(low[1]):
            first += 1
        if query.endswith("as first"):
            yield {"first": START.isoformat().replace("+00:00", "Z")}
            return
        limit = re.search(r"limit (\d+)", query)
        assert limit is not None
        end = COUNT if high is None else min(COUNT, -(-(datetime.fromisoformat(high[1]) - START) // STEP))
        for number in range(first, min(end, first + int(limit[1]))):
            self.asked += 1
            time = (START + number * STEP).isoformat(timespec="microseconds").replace("+00:00", "Z")
            yield {
                "_time": time, "_msg": "Tick", "level": "info", "hostname": "box", "procid": "1", "appname": "EmaBot",
                "sequence_id": str(number + 1), "price": "70000.5", "order_id": f"ord-{number}",
            }  # fmt: skip


@pytest.mark.soak
def test_a_long_answer_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the number of entries, and no entry is asked for much more than once."""
    rows = Rows()

    class Answered(victorialogs.Query):
        def __init__(self, text: str) -> None:
            self.text = text

        def answer(self, _: object) -> list[victorialogs.Row]:
            return list(rows.answer(self.text))

    monkeypatch.setattr(victorialogs, "Query", Answered)
    with VictoriaLogs() as server:
        early = seen = 0
        for record in open_logs(server.address):
            seen += 1
            assert record.key[1] == seen
            if seen == COUNT // 4:
                early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert seen == COUNT
    assert rows.asked < COUNT * 1.2
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{COUNT} entries, {most // 1024} MB at the end, {early // 1024} MB after a quarter")
    assert most < early * 1.3
