"""SIGTERM and Ctrl-C: a run finishes what it is doing, saves its progress and ends."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from slowfast_atfr.utils.errors import RunError

if TYPE_CHECKING:  # this file is imported before torch, which takes seconds in which a signal may come
    from torch.distributed import Store

KEY, INTERVAL = "stop", 0.5  # of the store; seconds
SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_STATUS = 85  # of a run that was interrupted and saved its progress; no signal, shell or launcher uses it


class Stopped(RunError):
    """The run was told to end, and its progress is saved."""


class StopRequest:
    """Whether this process, or another of its run, has been told to end.

    signal: name of the signal that did, such as SIGTERM; None before that.
    progress: whether this start has saved work that the next one need not repeat.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self.progress = False

    @property
    def here(self) -> bool:
        return self.signal is not None

    def stopped(self, where: str, outcome: str) -> Stopped:
        """The error that ends a run: where it was, such as "in the validation of epoch 3", and what is saved."""
        return Stopped(f"the run was told to end ({self.signal or 'a signal to another process'}) {where}; {outcome}")

    @contextmanager
    def shared_in(self, store: "Store") -> Iterator[None]:
        """Within the block, share the request with all processes that do the same with their end of a store.

        A thread polls the store: after a network failure a request may never return, and the run itself must reach the
        collective whose time-out ends it.
        """
        done = threading.Event()
        with suppress(AttributeError, RuntimeError):  # of older torch, and of stores without a network
            store = store.clone()  # a connection of its own
        thread = threading.Thread(target=self._exchange, args=(store, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(2 * INTERVAL)

    def _exchange(self, store: "Store", done: threading.Event) -> None:
        with suppress(Exception):  # the store is gone with its process, and so the run ends anyway
            while not done.wait(INTERVAL):
                if self.signal is not None:
                    store.set(KEY, self.signal)
                    return
                if store.check([KEY]):
                    self.signal = f"{store.get(KEY).decode()} to another process"
                    return

    def note(self, number: int) -> None:
        """Take note of a signal, and say so at once."""
        again = " (Ctrl-C once more ends it at once)" if number == signal.SIGINT else ""
        if self.signal is None:
            say = f"{signal.Signals(number).name}: the run saves its progress and ends{again}\n"
            with suppress(OSError, ValueError):
                os.write(sys.__stderr__.fileno(), say.encode())  # the signal may have interrupted a buffered write
        self.signal = self.signal or signal.Signals(number).name

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take note of SIGTERM and SIGINT within the block, instead of ending.

        After a signal SIGTERM is ignored until the process ends: srun sends it to the other tasks of a step as soon as
        one of them is done.
        """
        try:
            with on_signals(self.note):
                yield
        finally:
            if self.here and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def pass_signals_to(pids: Sequence[int]) -> Iterator[None]:
    """Within the block, SIGTERM and SIGINT reach these processes as SIGTERM: their parent is told to end for them all.

    Ctrl-C at a terminal reaches them anyway; SIGTERM twice is the same as once.
    """

    def pass_on(_: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    with on_signals(pass_on):
        yield


@contextmanager
def on_signals(action: Callable[[int], None]) -> Iterator[None]:
    """Call action(number) at SIGTERM and at the first SIGINT within the block; a second SIGINT ends the process.

    Outside of the main thread, where Python catches no signals, the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: object) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # works where Python is busy in native code, too
        action(number)

    was_held = signal.SIGTERM in _mask("SIG_BLOCK", [])
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if number == signal.SIGTERM or before[number] is not signal.SIG_IGN:  # nohup and shells' jobs ignore SIGINT
            signal.signal(number, handle)
    _mask("SIG_UNBLOCK", SIGNALS)  # what came while they were held is handled now
    try:
        yield
    finally:
        if was_held:
            _mask("SIG_BLOCK", [signal.SIGTERM])
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def stopped_by_signals(outcome: str) -> Iterator[None]:
    """Within the block SIGTERM and Ctrl-C raise Stopped at once: for work that is simply done again.

    Args:
        outcome: for the message, such as "start it again to resume".
    """

    def stop(number: int) -> None:
        raise Stopped(f"told to end ({signal.Signals(number).name}); {outcome}")

    with on_signals(stop):
        yield


def hold_sigterm() -> None:
    """Keep SIGTERM back wherever `on_signals` does not handle it: for the first line of a program.

    One that comes in between, such as while the program imports torch, is handled in the next block of `on_signals`;
    after the last block the program has done its work, and ends by itself.
    """
    if hasattr(signal, "pthread_sigmask"):
        _mask("SIG_BLOCK", [signal.SIGTERM])
        signal.signal(signal.SIGTERM, _keep_for_later)


def _keep_for_later(number: int, _: object) -> None:
    """Handle a signal that reached a thread which does not block it: it waits until the main thread lets it in."""
    signal.pthread_kill(threading.main_thread().ident, number)


def _mask(how: str, numbers: Sequence[int]) -> set[int]:
    """Change this thread's signal mask, where the system has one. Returns the mask before."""
    return signal.pthread_sigmask(getattr(signal, how), numbers) if hasattr(signal, "pthread_sigmask") else set()


def ignore_signals() -> None:
    """Leave SIGTERM and SIGINT, which reach all processes of a job, to the parent process, with which this one ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
