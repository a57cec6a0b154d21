"""Items made by threads before they are needed."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
_END = object()


def made_ahead(sources: Iterable[Iterator[T]], threads: int) -> Iterator[T]:
    """The items of all sources, one source after the other, while threads make those that come next.

    A source makes one item at a time, and the next one only when that has been handed out. So besides the item in use
    no more than `threads` + 1 items exist, however short or long the sources are.

    Args:
        sources: taken as they are needed, `threads` + 1 at a time.
        threads: that make items, at least 1.
    Raises:
        ValueError: if there are no threads.
        Exception: whatever a source raises, where its item would come.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; it is at least 1")
    pool, sources = ThreadPoolExecutor(threads), iter(sources)
    coming: deque[tuple[Iterator[T], Future]] = deque()  # sources that have begun, and the next item of each

    def begin(count: int) -> None:
        coming.extend((source, pool.submit(next, source, _END)) for source in islice(sources, count))

    try:
        begin(threads + 1)
        while coming:
            source, future = coming.popleft()
            item = future.result()
            if item is _END:
                begin(1)
                continue
            coming.appendleft((source, pool.submit(next, source, _END)))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
