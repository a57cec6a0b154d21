"""Ctrl-C ends a run and all that it started."""

import gc
import multiprocessing
import os
import signal
import time

import pytest

from slowfast_atfr.datasets.loader import build_train_loader
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.stop import EXIT_STATUS
from tests.processes import Program


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


@pytest.mark.parametrize(
    "whole_group", [pytest.param(False, marks=pytest.mark.slow), True], ids=["kill", "Ctrl-C"]
)  # a terminal's reaches the workers
def test_an_interrupted_run_saves_its_work_and_leaves_no_process(repo, tiny_pairs, tmp_path, whole_group):
    pairs = tiny_pairs(DATA_LOADER__NUM_WORKERS=2, SOLVER__MAX_EPOCH=10**6, TRAIN__CHECKPOINT_PERIOD=10**6)
    command = ["tools/run_net.py", "--cfg", "configs/Demo/SLOWFAST_R18.yaml", *pairs]
    run = Program(*command, cwd=repo)
    log = tmp_path / "out" / "stdout.log"
    try:
        assert wait_for(lambda: log.exists() and "val_epoch" in log.read_text(), 120)  # all workers are at work
        (os.killpg if whole_group else os.kill)(run.pid, signal.SIGINT)
        told = run.communicate(timeout=60)[1]
        assert run.returncode == EXIT_STATUS and wait_for(lambda: not alive(run.pid), 10)
    finally:
        if alive(run.pid):
            os.killpg(run.pid, signal.SIGKILL)
    assert "Ctrl-C once more ends it at once" in told and "interrupted (SIGINT)" in told and "Traceback" not in told
    assert len(list((tmp_path / "out" / "checkpoints").iterdir())) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_data_workers_leave_signals_to_their_parent_and_end_with_it(tiny_cfg, number):
    loader = build_train_loader(tiny_cfg(DATA_LOADER__NUM_WORKERS=2), RankInfo())
    batches = iter(loader)
    for _ in range(2):  # one of each: both are at work
        next(batches)
    workers = [process.pid for process in multiprocessing.active_children()]
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker, number)
    assert len(list(batches)) == len(loader) - 2
    del batches, loader
    gc.collect()
    assert wait_for(lambda: not multiprocessing.active_children(), 10)
