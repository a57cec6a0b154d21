"""SIGTERM and Ctrl-C: a run finishes its current step, saves its progress and exits."""

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

KEY, INTERVAL = "stop", 0.5  # key in the store; seconds between polls
SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_STATUS = 85  # of an interrupted run with its progress saved; no signal, shell or launcher uses it


class Stopped(RunError):
    """The run was interrupted, and its progress is saved."""


class StopRequest:
    """Whether this process, or another of its run, has been interrupted.

    signal: name of the signal, such as SIGTERM; None before one.
    progress: whether this start has saved work that the next one need not repeat.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self.progress = False

    @property
    def requested(self) -> bool:
        return self.signal is not None

    def stopped(self, where: str, outcome: str) -> Stopped:
        """Make the error that ends a run. where: such as "in the validation of epoch 3"; outcome: what is saved."""
        return Stopped(f"the run was interrupted ({self.signal or 'a signal to another process'}) {where}; {outcome}")

    @contextmanager
    def shared_in(self, store: "Store") -> Iterator[None]:
        """Within the block, share the request with the other processes through a store.

        A thread polls it: after a network failure a poll may never return, and the run itself must reach the collective
        whose time-out ends it.
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
        with suppress(Exception):  # the store's process is gone, so the run ends anyway
            while not done.wait(INTERVAL):
                if self.signal is not None:
                    store.set(KEY, self.signal)
                    return
                if store.check([KEY]):
                    self.signal = f"{store.get(KEY).decode()} to another process"
                    return

    def note(self, number: int) -> None:
        """Record a signal, and print so at once."""
        again = " (Ctrl-C once more ends it at once)" if number == signal.SIGINT else ""
        if self.signal is None:
            text = f"{signal.Signals(number).name}: the run saves its progress and ends{again}\n"
            with suppress(OSError, ValueError):
                os.write(sys.__stderr__.fileno(), text.encode())  # the signal may have interrupted a buffered write
        self.signal = self.signal or signal.Signals(number).name

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Record SIGTERM and SIGINT within the block instead of exiting.

        After a signal, SIGTERM is ignored until the process ends: srun sends it to the other tasks of a step as soon as
        one of them exits.
        """
        try:
            with on_signals(self.note):
                yield
        finally:
            if self.requested and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)


@contextmanager
def pass_signals_to(pids: Sequence[int]) -> Iterator[None]:
    """Within the block, forward SIGTERM and SIGINT to these processes as SIGTERM.

    Ctrl-C at a terminal reaches them anyway; a second SIGTERM changes nothing.
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

    Outside the main thread, where Python handles no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: object) -> None:
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # also works while Python is in native code
        action(number)

    was_blocked = signal.SIGTERM in _mask("SIG_BLOCK", [])
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        if number == signal.SIGTERM or before[number] is not signal.SIG_IGN:  # nohup and background jobs ignore SIGINT
            signal.signal(number, handle)
    _mask("SIG_UNBLOCK", SIGNALS)  # handles what came while they were blocked
    try:
        yield
    finally:
        if was_blocked:
            _mask("SIG_BLOCK", [signal.SIGTERM])
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def stopped_by_signals(outcome: str) -> Iterator[None]:
    """Within the block SIGTERM and Ctrl-C raise Stopped at once: for work that is cheap to repeat.

    Args:
        outcome: for the message, such as "start it again to resume".
    """

    def stop(number: int) -> None:
        raise Stopped(f"interrupted ({signal.Signals(number).name}); {outcome}")

    with on_signals(stop):
        yield


def hold_sigterm() -> None:
    """Block SIGTERM wherever `on_signals` does not handle it: for the first line of a program.

    One that comes in between, such as while torch is imported, is handled in the next block of `on_signals`; after the
    last block the program exits by itself.
    """
    if hasattr(signal, "pthread_sigmask"):
        _mask("SIG_BLOCK", [signal.SIGTERM])
        signal.signal(signal.SIGTERM, _keep_for_later)


def _keep_for_later(number: int, _: object) -> None:
    """Pass a signal from a thread that does not block it on to the main thread, which does."""
    signal.pthread_kill(threading.main_thread().ident, number)


def _mask(how: str, numbers: Sequence[int]) -> set[int]:
    """Change this thread's signal mask, where the system has one; return the previous mask."""
    return signal.pthread_sigmask(getattr(signal, how), numbers) if hasattr(signal, "pthread_sigmask") else set()


def ignore_signals() -> None:
    """Ignore SIGTERM and SIGINT, which reach all processes of a job; this one ends with its parent."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
