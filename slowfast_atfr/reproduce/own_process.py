"""A call that runs in a process of its own, so that what this one has set for its memory does not reach it."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch

from slowfast_atfr.utils.errors import RunError

_HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch's; utils.env sets it


@contextmanager
def in_own_process(build: Callable[[], Callable[[], object]]) -> Iterator[Callable[[], None]]:
    """A call of what `build` returns in a new process: as many threads, memory as Linux and the C library have it.

    Args:
        build: called once, in that process; a function that pickle can name.
    Yields:
        A function that has the other process make the call, and waits until it is done. Raises RunError if that
        process has ended.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(build, torch.get_num_threads(), theirs), daemon=True)
    process.start()
    theirs.close()

    def call() -> None:
        try:
            ours.send(None)
            ours.recv()
        except (EOFError, OSError):
            process.join()
            raise RunError(f"a process that measures something has ended (exit status {process.exitcode})") from None

    try:
        yield call
    finally:
        ours.close()
        process.join()


def _serve(build: Callable[[], Callable[[], object]], threads: int, connection: Connection) -> None:
    os.environ.pop(_HUGE_PAGES, None)  # before torch's first block, when it looks
    torch.set_num_threads(threads)
    task = build()
    try:
        while True:
            connection.recv()
            task()
            connection.send(None)
    except (EOFError, OSError):  # the other end is closed
        return
