"""Ctrl-C ends a run and all that it started."""

import os
import signal
import subprocess
import sys
import time

from tests.processes import hear_ctrl_c


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(holds, seconds):
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)
    return holds()


def test_an_interrupted_run_leaves_no_process(repo, tiny_pairs, tmp_path):
    pairs = tiny_pairs(DATA_LOADER__NUM_WORKERS=2, SOLVER__MAX_EPOCH=10**6)
    command = [sys.executable, "tools/run_net.py", "--cfg", "configs/Demo/SLOWFAST_R18.yaml", *pairs]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = subprocess.Popen(command, cwd=repo, start_new_session=True, preexec_fn=hear_ctrl_c, **quiet)
    log = tmp_path / "out" / "stdout.log"
    try:
        assert wait_for(lambda: log.exists() and "val_epoch" in log.read_text(), 120)  # all workers are at work
        os.kill(run.pid, signal.SIGINT)
        assert run.wait(timeout=60) != 0
        assert wait_for(lambda: not alive(run.pid), 10)
    finally:
        if alive(run.pid):
            os.killpg(run.pid, signal.SIGKILL)
