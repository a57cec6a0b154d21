"""SIGTERM: a run that is told to end finishes its iteration, writes a checkpoint and ends."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
    """Catch SIGTERM within; not outside of the main thread, where Python catches no signals."""
    request = StopRequest()

    def note(_: int, __: FrameType | None) -> None:
        request.here = True
        logger.warning("SIGTERM: a checkpoint is written at the end of this iteration, then the run ends")

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
