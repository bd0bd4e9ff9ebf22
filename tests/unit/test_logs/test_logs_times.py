"""Times as people type them, where clocks are set back or forward."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logger.entry.console_text import time_text
from metaexpert.logs import open_logs, parse_time
from metaexpert.logs.reading.times import parse_zone
from tests.unit.test_logs.conftest import Line

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 10, 26, 12, tzinfo=UTC)


def utc(text: str, **how: Any) -> datetime:
    """Return the time in UTC: Python holds a time that comes twice for different from all times of other zones."""
    return parse_time(text, **how).astimezone(UTC)


@pytest.mark.parametrize("text", ["2026-10-25 02:30", "yesterday 2:30", "sunday 02:30", "2026-10-25T02:30:00"])
def test_an_hour_that_comes_twice_has_two_times(text: str) -> None:
    """The first of both, unless the last is asked for."""
    assert utc(text, now=NOW, tz=BERLIN) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert utc(text, now=NOW, tz=BERLIN, last=True) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-10-25T02:30:00+02:00", "1d", "now", "2026-10-25 04:30", "today"])
def test_other_times_are_one(text: str) -> None:
    """Those with an offset, spans, and all that come once."""
    now = datetime(2026, 10, 26, 0, 30, tzinfo=UTC)
    assert utc(text, now=now, tz=BERLIN, last=True) == utc(text, now=now, tz=BERLIN)
    again = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)  # the second 02:30
    assert utc("now", now=again, tz=BERLIN) == again


def test_a_time_that_clocks_skip_is_when_they_are_set_forward() -> None:
    """The last one is just before it: nothing is shown with a time in between."""
    change = datetime(2026, 3, 29, 1, tzinfo=UTC)
    for text in ("2026-03-29 02:00", "2026-03-29 02:30", "2026-03-29 02:59:59.999999"):
        assert utc(text, tz=BERLIN) == change
        assert utc(text, tz=BERLIN, last=True) == change - timedelta(microseconds=1)
    assert utc("2026-03-29 03:00", tz=BERLIN, last=True) == change


@given(st.integers(-240, 240), st.integers(0, 480), st.integers(0, 480), st.sampled_from(["03-29T01", "10-25T01"]))
def test_bounds_take_in_all_that_is_shown_with_a_time_between(at: int, begin: int, length: int, change: str) -> None:
    """Around both changes of the clocks, in minutes: no entry is left out whose shown time lies between."""
    moment = datetime.fromisoformat(f"2026-{change}:00+00:00")
    midnight = datetime(2026, moment.month, moment.day)
    low, high = (f"{midnight + timedelta(minutes=m):%Y-%m-%d %H:%M}" for m in (begin, begin + length))
    entry = moment + timedelta(minutes=at)
    if low <= time_text(entry.isoformat(), BERLIN)[:16] <= high:
        assert utc(low, tz=BERLIN) <= entry <= utc(high, tz=BERLIN, last=True)


def test_filters_take_in_both_hours(tmp_path: Path, line: Line) -> None:
    """`until` means the second of two times, typed or as a datetime."""
    moments = [f"2026-10-25T0{hour}:{minute}".encode() for hour in (0, 1) for minute in ("00", "30")]
    lines = [line(n, at=0).replace(b"2026-11-22T10:31", moment) for n, moment in enumerate(moments, 1)]
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    typed = open_logs(tmp_path, since="2026-10-25 02:00", until="2026-10-25 02:59", tz=BERLIN)
    assert len(list(typed)) == 4
    bounds = datetime(2026, 10, 25, 2), datetime(2026, 10, 25, 2, 59)
    assert len(list(open_logs(tmp_path, since=bounds[0], until=bounds[1], tz=BERLIN))) == 4
    assert len(list(open_logs(tmp_path, since=bounds[0].replace(fold=1), tz=BERLIN))) == 2


@pytest.mark.parametrize(
    ("text", "zone"),
    [("0001-01-01", "Europe/Berlin"), ("9999-12-31 23:00", "America/New_York"), ("0001-01-01T00:00+05:00", "UTC")],
)
def test_a_time_beyond_all_years_is_none(text: str, zone: str) -> None:
    """It is so in UTC."""
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text, tz=ZoneInfo(zone))


def machine_in(zone: str) -> Iterator[None]:
    """Let the zone of this machine be *zone* meanwhile, by its rules."""
    if not hasattr(time, "tzset"):
        pytest.skip("the zone of this system cannot be set for a test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def in_berlin() -> Iterator[None]:
    """As in Berlin."""
    yield from machine_in("CET-1CEST,M3.5.0,M10.5.0/3")


@pytest.fixture
def on_utc() -> Iterator[None]:
    """As most servers."""
    yield from machine_in("UTC")


@pytest.mark.usefixtures("in_berlin")
class TestLocalZone:
    @given(st.integers(0, 366 * 24 * 4))
    def test_times_are_shown_as_on_a_clock_there(self, quarters: int) -> None:
        """In summer and in winter, whatever season it is now, and there and back."""
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * quarters)
        local = parse_zone("local")
        assert time_text(moment.isoformat(), local) == time_text(moment.isoformat(), BERLIN)
        assert moment.astimezone(local).isoformat() == moment.astimezone(BERLIN).isoformat()
        assert moment.astimezone(local).astimezone(UTC) == moment

    @pytest.mark.parametrize("last", [False, True])
    @pytest.mark.parametrize("text", ["2026-07-01 12:00", "2026-10-25 02:30", "2026-03-29 02:30", "yesterday 2:30"])
    def test_times_are_typed_as_on_a_clock_there(self, text: str, last: bool) -> None:
        """Also those that come twice or never."""
        local = parse_zone("local")
        assert utc(text, now=NOW, tz=local, last=last) == utc(text, now=NOW, tz=BERLIN, last=last)

    def test_its_name_is_that_of_both_seasons(self) -> None:
        """A page of a year has both."""
        assert str(parse_zone("local")) == "CET/CEST"

    @pytest.mark.parametrize("moment", [datetime.min, datetime.max])
    def test_the_ends_of_time_are_shown(self, moment: datetime) -> None:
        """In UTC where the zone's time does not exist."""
        assert time_text(moment.replace(tzinfo=UTC).isoformat(), parse_zone("local"))


@pytest.mark.usefixtures("on_utc")
def test_the_local_zone_of_a_machine_on_utc_is_utc() -> None:
    """It takes the short way."""
    assert parse_zone("local") is UTC
