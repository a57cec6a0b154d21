"""SIGTERM: a run that is told to end finishes its iteration, writes a checkpoint and ends."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from slowfast_atfr.utils.errors import RunError

logger = logging.getLogger(__name__)
EXIT_STATUS = 128 + signal.SIGTERM  # what shells report of a process that the signal has ended


class Stopped(RunError):
    """The run was told to end, and has written a checkpoint to go on from."""


class StopRequest:
    """Whether this process has been told to end."""

    def __init__(self) -> None:
        self.here = False


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Note SIGTERM within, instead of ending."""
    request = StopRequest()

    def note() -> None:
        request.here = True
        logger.warning("SIGTERM: a checkpoint is written at the end of this iteration, then the run ends")

    with on_sigterm(note):
        yield request


@contextmanager
def pass_sigterm_to(pids: Sequence[int]) -> Iterator[None]:
    """SIGTERM goes to other processes within: whoever ends a run by its first process means all of them."""

    def pass_on() -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    with on_sigterm(pass_on):
        yield


@contextmanager
def on_sigterm(action: Callable[[], None]) -> Iterator[None]:
    """Do this at SIGTERM within; nothing outside of the main thread, where Python catches no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: action())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
