import os
import signal
import subprocess
import sys
import threading

import pytest

from slowfast_atfr.utils.stop import StopRequest, pass_signals_to
from tests.processes import hear_ctrl_c


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_within_and_sigterm_ignored_from_then_on(number):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs under nohup ignores it
    before, stop = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)], StopRequest()
    with stop.on_signals():
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested and stop.signal == number.name
        os.kill(os.getpid(), signal.SIGTERM)  # Slurm sends it more than once
        assert stop.signal == number.name
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == [signal.SIG_IGN, before[1]]
    with StopRequest().on_signals():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # as it was


def test_without_a_signal_the_old_handlers_come_back():
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with StopRequest().on_signals():
        pass
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before


WAIT = """
import time
from slowfast_atfr.utils.stop import StopRequest
stop = StopRequest()
with stop.on_signals():
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
        if stop.requested:
            print(stop.signal, flush=True)
"""


def test_the_second_ctrl_c_ends_the_process():
    command = [sys.executable, "-c", WAIT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "SIGINT\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == -signal.SIGINT


def test_a_process_that_was_started_to_ignore_ctrl_c_still_does():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest().on_signals():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def inside():
        stop = StopRequest()
        with stop.on_signals():
            seen.append((signal.getsignal(signal.SIGTERM), stop.requested))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_children_are_told_by_sigterm_whatever_reached_their_parent(number):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen([sys.executable, "-c", WAIT], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        with pass_signals_to([child.pid, 2**22 + 1]):  # the second has ended already
            os.kill(os.getpid(), number)
        assert child.stdout.readline() == "SIGTERM\n"
        child.kill()


HOLD = """
import os, signal, threading, time
from slowfast_atfr.utils.stop import hold_sigterm, on_signals
hold_sigterm()
done = threading.Event()
with on_signals(lambda number: print("too early", flush=True)):
    threading.Thread(target=done.wait).start()  # like those of torch, it does not block what the main thread blocks
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.3)
print("held", flush=True)
with on_signals(lambda number: print("handled", number, flush=True)):
    time.sleep(0.1)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.3)
done.set()
"""


def test_between_two_blocks_and_after_the_last_one_sigterm_is_held_whatever_threads_there_are():
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["held", f"handled {int(signal.SIGTERM)}"] and done.returncode == 0, done.stderr
