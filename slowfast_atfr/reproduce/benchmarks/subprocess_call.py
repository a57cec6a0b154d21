"""Run a call in a new process, without the memory settings of this one."""

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
    """Call the result of `build` in a new process, with as many threads and the default memory settings.

    Args:
        build: a picklable function, called once in that process before the first call.
        args: of build.
    Yields:
        A function that makes the call in the other process and waits. It raises what the call raises; RunError if the
        process has ended.
    """
    spawn, threads = multiprocessing.get_context("spawn"), torch.get_num_threads()
    with ProcessPoolExecutor(1, spawn, initializer=_start, initargs=(threads,)) as process:

        def call() -> None:
            try:
                process.submit(_call, build, args).result()
            except BrokenProcessPool as error:
                reason = "if it was killed for lack of memory, close other programs"
                raise RunError(f"a process of the benchmark has ended; {reason} ({error})") from None

        yield call


def _start(threads: int) -> None:
    os.environ.pop(HUGE_PAGES, None)  # torch reads it at its first allocation
    torch.set_num_threads(threads)


def _call(build: Callable[..., Callable[[], object]], args: tuple[Hashable, ...]) -> None:
    _built(build, args)()


@cache
def _built(build: Callable[..., Callable[[], object]], args: tuple[Hashable, ...]) -> Callable[[], object]:
    return build(*args)
