"""A call that runs in a process of its own, so that what this one has set for its memory does not reach it."""

import multiprocessing
import os
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache

import torch

from slowfast_atfr.utils.env import HUGE_PAGES
from slowfast_atfr.utils.errors import RunError


@contextmanager
def in_own_process(build: Callable[..., Callable[[], object]], *args: Hashable) -> Iterator[Callable[[], None]]:
    """A call of what `build` returns in a new process: as many threads, memory as Linux and the C library have it.

    Args:
        build: called once, in that process, before the first call; a function that pickle can name.
        args: of build.
    Yields:
        A function that has the other process make the call, and waits until it is done. What the call raises there it
        raises here; RunError if that process has ended.
    """
    spawn, threads = multiprocessing.get_context("spawn"), torch.get_num_threads()
    with ProcessPoolExecutor(1, spawn, initializer=_start, initargs=(threads,)) as process:

        def call() -> None:
            try:
                process.submit(_call, build, args).result()
            except BrokenProcessPool as error:
                reason = "if it was killed for want of memory, close other programs"
                raise RunError(f"a process that takes part in measuring has ended; {reason} ({error})") from None

        yield call


def _start(threads: int) -> None:
    os.environ.pop(HUGE_PAGES, None)  # before torch's first block, when it looks
    torch.set_num_threads(threads)


def _call(build: Callable[..., Callable[[], object]], args: tuple[Hashable, ...]) -> None:
    _built(build, args)()


@cache
def _built(build: Callable[..., Callable[[], object]], args: tuple[Hashable, ...]) -> Callable[[], object]:
    return build(*args)
