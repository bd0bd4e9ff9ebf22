"""How a caller waits: what is left of its time, and what a coroutine does meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from metaexpert.logger.system.calls import monotonic


def time_left(deadline: float | None) -> float | None:
    """Return the seconds until *deadline*, at least 0; None without one."""
    return None if deadline is None else max(deadline - monotonic(), 0.0)


async def elsewhere(wait: Callable[[], object]) -> None:
    """Have *wait* run on another thread, so that the loop is not held."""
    import asyncio  # noqa: PLC0415 - a program without coroutines does not wait for its import

    try:
        waiting = asyncio.get_running_loop().run_in_executor(None, wait)
    except RuntimeError:  # the executor is shut down: the program is about to end
        wait()
    else:
        await waiting
