import os
import signal
import threading

from slowfast_atfr.engine.stop import stop_on_sigterm


def test_a_signal_is_noted_within_and_the_old_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_sigterm() as stop:
        assert not stop.here
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.here
    assert signal.getsignal(signal.SIGTERM) == before


def test_other_threads_leave_signals_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def inside():
        with stop_on_sigterm() as stop:
            seen.append((signal.getsignal(signal.SIGTERM), stop.here))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
