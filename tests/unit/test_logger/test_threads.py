"""Our threads, also where others were put in the place of Python's after the import, as gevent does it."""

from __future__ import annotations

import _thread
import threading
from typing import Any

import pytest

from metaexpert.logger.system.threads import RLock, Thread


@pytest.fixture(params=["as imported", "replaced"])
def replaced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether threads that Python starts would never run."""
    if request.param == "replaced":
        for module, name in ((_thread, "start_new_thread"), (threading, "_start_new_thread")):
            monkeypatch.setattr(module, name, lambda *_: 1, raising=False)
        monkeypatch.setattr(threading, "_CRLock", None)
        return True
    return False


def test_a_thread_begins_works_and_ends(replaced: bool) -> None:
    """It knows that it is the current one, and is waited for."""
    go, seen = threading.Lock(), list[Any]()
    go.acquire()

    def work(thread: Thread) -> None:
        seen.append((thread.current, thread.name, thread.native_id))
        go.acquire()

    thread = Thread(work, "metaexpert-test")
    assert not thread.current
    thread.start()
    assert thread.is_alive()
    thread.join(0.01)
    assert thread.is_alive()
    assert not thread.current
    go.release()
    thread.join()
    assert not thread.is_alive()
    assert seen == [(True, "metaexpert-test", thread.native_id)]
    assert thread.native_id != threading.get_native_id()


def test_a_thread_whose_number_nobody_knows_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's list of threads holds it by the number that it had before others were put in place."""
    thread = Thread(lambda _: threading._active.clear(), "metaexpert-test")  # type: ignore[attr-defined]
    monkeypatch.setattr(threading, "_active", dict(threading._active))  # type: ignore[attr-defined]
    failed: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", failed.append)
    thread.start()
    thread.join()
    assert failed == []


def test_locks_stay_of_the_kind_that_was_imported(replaced: bool) -> None:
    """`threading.RLock` looks anew, at each call, for what it makes."""
    assert type(RLock()).__module__ == "_thread"
