"""Work done ahead, in one thread, while its results are used: reading and counting release the interpreter lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

#: Results that wait.
_MOST: Final = 4


def ahead[T, R](items: Iterable[T], work: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Yield each item and what *work* returns for it, in their order.

    One thread calls *work* for up to four items ahead; *items* is asked in the caller's thread. What *work* raises is
    raised here.
    """
    with ThreadPoolExecutor(1, "metaexpert-reader") as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > _MOST:
                    first, result = waiting.popleft()
                    yield first, result.result()
            while waiting:
                first, result = waiting.popleft()
                yield first, result.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
