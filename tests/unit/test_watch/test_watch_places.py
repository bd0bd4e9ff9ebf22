"""One directory under watch, looked at in this process: ends, silence, backups, and what is no process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from metaexpert.logger import LoggerConfig, MetaLogger, schema
from metaexpert.logger.journal.watched import DIRECTORY, HOUSEKEEPER, JOB
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.locks import FileLock
from metaexpert.watch import _place
from metaexpert.watch.rules import Rules, Silence, read_rules
from metaexpert.watch.watcher import Watcher

Events = list[tuple[str, dict[str, Any]]]
Watch = Callable[..., tuple[Watcher, Events]]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Return a function that makes a watcher of this directory, and the list of its events."""
    made: list[Watcher] = []

    def make(rules: Rules | None = None, *, once: bool = False) -> tuple[Watcher, Events]:
        events: Events = []
        config = LoggerConfig(log_to_console=False)
        rules = rules or read_rules(None, [])
        made.append(Watcher([tmp_path], rules, config, lambda name, **fields: events.append((name, fields)), once=once))
        return made[-1], events

    yield make
    for watcher in made:
        watcher.close()


def names(events: Events) -> list[str]:
    return [name for name, _ in events]


def looked(watcher: Watcher) -> bool:
    watcher.look()
    return True


def left(logs: Path, journal: str = "a" * 32, **facts: Any) -> Path:
    """Leave the owner file of a process that is gone."""
    private = logs / ".metaexpert"
    private.mkdir(parents=True, exist_ok=True)
    owner = private / f"{journal}.owner"
    content = {"procid": "4194999", "hostname": os.uname().nodename, "began": "x 1", "program": "p", "forked": False}
    owner.write_text(json.dumps(content | facts))
    return owner


def test_an_end_is_told_by_one_of_two_watchers(watch: Watch, tmp_path: Path) -> None:
    """Two watchers look at the same dead process; one tells, and the mark goes with the owner file."""
    left(tmp_path / "logs", error="ValueError: no funds")
    pairs = [watch(), watch()]
    for _ in range(3):
        for watcher, _events in pairs:
            watcher.look()
    told = [fields for _, events in pairs for name, fields in events if name == "died"]
    assert [fields["reason"] for fields in told] == ["uncaught"]
    assert "no funds" in told[0]["text"]
    assert list((tmp_path / "logs/.metaexpert" / DIRECTORY).glob("*.end")) == []


def test_a_child_that_left_nothing_has_ended_well(watch: Watch, tmp_path: Path) -> None:
    """A forked child may end by `os._exit` as it should."""
    left(tmp_path / "logs", forked=True)
    watcher, events = watch()
    watcher.look()
    watcher.look()
    assert "died" not in names(events)
    assert not watcher.bad


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"procid": "1"}'])
def test_owner_files_that_say_nothing(watch: Watch, tmp_path: Path, content: bytes) -> None:
    """A process that has not logged yet, or a planted file, is no process."""
    left(tmp_path / "logs").write_bytes(content)
    watcher, events = watch()
    watcher.look()
    assert names(events) == ["watching"]
    assert watcher.finished


def test_a_process_of_another_host(watch: Watch, tmp_path: Path) -> None:
    """In another container only the lock and the time of the last heartbeat tell; a fresh one waits."""
    owner = left(tmp_path / "logs", hostname="elsewhere")
    watcher, events = watch()
    watcher.look()
    assert "died" not in names(events)
    os.utime(owner, (time.time() - 60, time.time() - 60))
    watcher.look()
    watcher.look()
    assert "died" in names(events)


def test_what_lives_is_left_alone(watch: Watch, tmp_path: Path) -> None:
    """A logger of a living process is seen to start and to end well."""
    watcher, events = watch()
    with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as first:
        first.info("here")
        eventually(lambda: looked(watcher) and "watching" in names(events))
        with MetaLogger(log_dir=tmp_path / "logs" / "below", log_to_console=False, install=False) as second:
            second.info("here")
            watcher._next_search = 0.0
            eventually(lambda: looked(watcher) and names(events).count("watching") == 2)
            assert not watcher.finished
    eventually(lambda: looked(watcher) and names(events).count("ended") == 2)
    assert not watcher.bad
    assert watcher.finished


def test_it_is_said_to_be_watched_when_ends_are_noted(tmp_path: Path) -> None:
    """A watcher that is killed as soon as it has said so has left the place for notes."""
    (tmp_path / schema.PRIVATE_DIRECTORY).mkdir()
    noted: list[bool] = []

    def tell(event: str, **_: object) -> None:
        if event == "watching":
            noted.append((tmp_path / schema.PRIVATE_DIRECTORY / DIRECTORY).is_dir())

    watcher = Watcher([tmp_path], read_rules(None, []), LoggerConfig(log_to_console=False), tell)
    watcher.look()
    watcher.close()
    assert noted == [True]


def test_a_directory_that_vanishes(watch: Watch, tmp_path: Path) -> None:
    """A directory that is deleted under watch is dropped without a complaint."""
    owner = left(tmp_path / "logs")
    watcher, events = watch()
    watcher.look()
    for path in sorted((tmp_path / "logs").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    owner.parent.parent.rmdir()
    watcher.look()
    watcher._next_search = 0.0
    watcher.look()
    assert names(events)[-1] == "gone"
    assert "trouble" not in names(events)


class TestSilence:
    """No entry of a kind for some time."""

    def test_told_once_and_over(self, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A silence is told once, over watchers; it is over with the next entry of the kind."""
        monkeypatch.setattr("metaexpert.watch._process.Process.age", lambda _: 1000.0)
        monkeypatch.setattr(_place, "_RETRY", 0.0)
        rules = Rules(silences=(Silence("trade", 3.0),))
        with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as logger:
            logger.info("no trade")
            logger.flush()
            watcher, events = watch(rules)
            eventually(lambda: looked(watcher) and "silent" in names(events))
            (silent,) = [fields for name, fields in events if name == "silent"]
            assert "has logged no trade for 3 s" in silent["text"]
            other, unheard = watch(rules)
            for _ in range(3):
                watcher.look()
                other.look()
            assert names(events).count("silent") == 1
            assert "silent" not in names(unheard)
            logger.trade.info("bought")
            logger.flush()
            eventually(lambda: looked(watcher) and "goes on" in names(events))

    def test_the_time_before_the_start_does_not_count(self, watch: Watch, tmp_path: Path) -> None:
        """A process that has just begun is not silent."""
        with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as logger:
            logger.info("no trade")
            logger.flush()
            watcher, events = watch(Rules(silences=(Silence("trade", 100_000.0),)), once=True)
            watcher.look()
        assert "silent" not in names(events)


def test_a_hang_is_judged_by_entries(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that shows life and logs nothing hangs: told once, also by a new watcher; an entry ends it."""
    now = [monotonic()]
    monkeypatch.setattr("metaexpert.watch.watcher.monotonic", lambda: now[0])
    with MetaLogger(log_dir=tmp_path / "logs", log_to_console=False, install=False) as logger:
        logger.info("here")
        logger.flush()
        watcher, events = watch(Rules(hang=60.0))
        watcher.look()

        def later(watcher: Watcher, seconds: float) -> None:
            owner = next((tmp_path / "logs/.metaexpert").glob("*.owner"))
            for _ in range(2):  # it shows life meanwhile
                now[0] += seconds / 2
                os.utime(owner)
                watcher.look()

        later(watcher, 40.0)
        assert "hangs" not in names(events)
        later(watcher, 40.0)
        assert names(events).count("hangs") == 1
        other, unheard = watch(Rules(hang=60.0))
        other.look()
        later(other, 200.0)
        later(watcher, 100.0)
        assert names(events).count("hangs") == 1
        assert "hangs" not in names(unheard)
        logger.info("again")
        logger.flush()
        later(watcher, 10.0)
        assert "goes on" in names(events)


class TestBackups:
    """The care of backups is left to the watcher where one is."""

    @pytest.mark.parametrize("watched", [True, False])
    def test_the_same_with_a_watcher_and_without(self, watch: Watch, tmp_path: Path, *, watched: bool) -> None:
        """Backups are compressed either way; with a watcher by it, and the note of the work is gone."""
        logs = tmp_path / "logs"
        with MetaLogger(
            log_dir=logs, log_to_console=False, install=False, compress_backups=True, max_file_size=2000
        ) as logger:
            logger.info("first")
            logger.flush()
            watcher, _ = watch()
            if watched:
                watcher.look()
                assert (logs / ".metaexpert" / DIRECTORY / HOUSEKEEPER).exists()
            for number in range(30):
                logger.info("x" * 100, number=number)
            logger.flush()
            if watched:
                job = logs / ".metaexpert" / DIRECTORY / JOB
                eventually(job.exists)
                assert list(logs.glob("*.gz")) == []
                eventually(lambda: looked(watcher) and not job.exists())
            eventually(lambda: list(logs.glob("*.gz")) and not list(logs.glob("expert.log.[0-9]")))

    def test_a_watcher_that_died_is_not_waited_for(self, tmp_path: Path) -> None:
        """The lock decides: with a file of a dead housekeeper the expert does the work itself."""
        logs = tmp_path / "logs"
        mine = FileLock(logs / ".metaexpert" / DIRECTORY / HOUSEKEEPER)
        assert mine.acquire()
        mine.release(delete=False)
        with MetaLogger(
            log_dir=logs, log_to_console=False, install=False, compress_backups=True, max_file_size=2000
        ) as logger:
            for number in range(30):
                logger.info("x" * 100, number=number)
        assert list(logs.glob("*.gz"))
        assert not (logs / ".metaexpert" / DIRECTORY / JOB).exists()

    @pytest.mark.parametrize("note", ["[]", "{}", '{"bases": ["../x", 7], "compressed": "y", "budget": "z"}'])
    def test_a_planted_note(self, watch: Watch, tmp_path: Path, note: str) -> None:
        """A note that no expert wrote does no harm."""
        left(tmp_path / "logs")
        watcher, events = watch()
        watcher.look()
        job = tmp_path / "logs/.metaexpert" / DIRECTORY / JOB
        job.write_text(note)
        eventually(lambda: looked(watcher) and not job.exists())
        assert "trouble" not in names(events)
