import os
import signal
import subprocess
import sys

import pytest

from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.lock import OutputLock

HOLD = """
import os, sys, time
from slowfast_atfr.utils.lock import OutputLock
with OutputLock(sys.argv[1]):
    if os.fork() == 0:  # as a data worker, which outlives its parent for a moment
        time.sleep(20)
        os._exit(0)
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    process = subprocess.Popen(command, start_new_session=True, **pipes)
    assert process.stdout.readline() == "held\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_folder_that_a_run_works_in_is_refused(holder, tmp_path):
    told = f"belongs to a run that is still going on .process {holder.pid} on "
    with pytest.raises(RunError, match=told), OutputLock(str(tmp_path)):
        pass


def test_a_run_that_was_killed_holds_nothing(holder, tmp_path):
    holder.kill()
    holder.wait()
    with OutputLock(str(tmp_path)):
        pass


def test_a_run_that_has_ended_holds_nothing(holder, tmp_path):
    holder.stdin.write("\n")
    holder.stdin.flush()
    holder.wait()
    for _ in range(2):
        with OutputLock(str(tmp_path)):
            pass


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("slowfast_atfr.utils.lock.fcntl.lockf", fail)
    with OutputLock(str(tmp_path / "new")):
        assert "cannot be locked against a second run: No locks available" in caplog.text
