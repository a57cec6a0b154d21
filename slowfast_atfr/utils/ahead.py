"""Items produced by threads before they are needed."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
_END = object()


def made_ahead(sources: Iterable[Iterator[T]], threads: int) -> Iterator[T]:
    """Yield the items of all sources, one source after the other, while threads produce the next ones.

    A source produces its next item only after the previous one was taken, so at most `threads` + 1 items are waiting.

    Args:
        sources: started as needed, `threads` + 1 at a time.
        threads: at least 1.
    Raises:
        ValueError: if threads is below 1.
        Exception: what a source raises, in place of its item.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; it is at least 1")
    pool, sources = ThreadPoolExecutor(threads), iter(sources)
    coming: deque[tuple[Iterator[T], Future]] = deque()  # started sources, and the next item of each

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
