"""tools/slurm/train.sbatch, with stand-ins for srun and scontrol on PATH."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slowfast_atfr.utils.stop import EXIT_STATUS
from tests.engine.test_multi_node import CONFIG
from tests.runs import assert_same, last


@pytest.fixture
def slurm(tmp_path, repo):
    """Starts the script as Slurm would; scontrol writes down what it is asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = repo / "tests" / "engine" / "fake_srun.py"
    programs = {
        "srun": f'echo $BASHPID > {tmp_path}/srun.pid\nexec {shlex.quote(sys.executable)} {fake} "$@"',
        "scontrol": f'if [ "$1" = requeue ]; then echo "$@" >> {tmp_path}/scontrol.log; fi',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    job = str(os.getpid())  # makes the port
    own = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SLURM_JOB_ID": job,
        "FAKE_TASKS_PER_NODE": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }

    def start(*arguments, **env):
        command = ["bash", str(repo / "tools" / "slurm" / "train.sbatch"), *arguments]
        return subprocess.Popen(command, cwd=repo, env={**os.environ, **own, "PYTHON": sys.executable, **env})

    start.job, start.requeued = job, tmp_path / "scontrol.log"
    return start


@pytest.mark.parametrize(("status", "requeues"), [(0, False), (1, False), (143, False), (85, True)])
def test_a_job_that_was_told_to_end_queues_again(slurm, repo, tmp_path, status, requeues):
    task = tmp_path / "task"
    task.write_text(f'#!/bin/bash\necho "$SLURM_PROCID $@" >> {tmp_path}/tasks.log\nexit {status}\n')
    task.chmod(0o755)
    assert slurm("--cfg", "a file.yaml", "NUM_GPUS", "2", PYTHON=str(task)).wait(30) == status
    ran = sorted((tmp_path / "tasks.log").read_text().splitlines())
    assert ran == [f"{number} {repo}/tools/run_net.py --cfg a file.yaml NUM_GPUS 2" for number in (0, 1)]
    assert slurm.requeued.exists() == requeues
    if requeues:
        assert slurm.requeued.read_text() == f"requeue {slurm.job}\n"


def test_a_job_does_not_queue_again_for_ever(slurm, tmp_path):
    task = tmp_path / "task"
    task.write_text(f"#!/bin/bash\nexit {EXIT_STATUS}\n")
    task.chmod(0o755)
    assert slurm("--cfg", "x", PYTHON=str(task), SLURM_RESTART_COUNT="3", MAX_RESTARTS="4").wait(30) == EXIT_STATUS
    assert slurm.requeued.exists()
    slurm.requeued.unlink()
    assert slurm("--cfg", "x", PYTHON=str(task), SLURM_RESTART_COUNT="4", MAX_RESTARTS="4").wait(30) == 1
    assert not slurm.requeued.exists()


def test_the_first_failure_is_the_last_line(slurm, tmp_path, capfd):
    """The others say later that somebody is gone."""
    task = tmp_path / "task"
    later = "sleep 1; echo 'error: process 0 of 2: another process of this run no longer answers'"
    first = "echo 'error: unknown key SOLVER.X'"
    task.write_text(f'#!/bin/bash\nif [ "$SLURM_PROCID" = 1 ]; then {first}; else {later}; fi\nexit 1\n')
    task.chmod(0o755)
    assert slurm("--cfg", "x", PYTHON=str(task)).wait(30) == 1
    assert "the first failure: error: unknown key SOLVER.X" in capfd.readouterr().err.strip().splitlines()[-1]


def test_a_task_that_fails_while_others_stop_fails_the_job(slurm, tmp_path, capfd):
    """As at the second start without progress: the main process says so, the others only that they were told to end."""
    task = tmp_path / "task"
    failed = "echo 'error: give the run more time'; exit 1"
    task.write_text(f'#!/bin/bash\nif [ "$SLURM_PROCID" = 0 ]; then {failed}; fi\nexit {EXIT_STATUS}\n')
    task.chmod(0o755)
    assert slurm("--cfg", "x", PYTHON=str(task)).wait(30) == 1
    assert "the first failure: error: give the run more time" in capfd.readouterr().err.strip().splitlines()[-1]
    assert not slurm.requeued.exists()


def test_the_script_runs_from_any_folder(slurm, tmp_path, repo):
    task = tmp_path / "task"
    task.write_text(f'#!/bin/bash\necho "$1" >> {tmp_path}/tasks.log\n')
    task.chmod(0o755)
    assert slurm("--cfg", "x", PYTHON=str(task), REPO=str(repo), SLURM_SUBMIT_DIR=str(tmp_path)).wait(30) == 0
    assert (tmp_path / "tasks.log").read_text() == 2 * f"{repo}/tools/run_net.py\n"


@pytest.mark.slow
def test_a_preempted_run_goes_on(slurm, tiny_pairs, tmp_path):
    """SIGTERM to the step, as --signal=TERM@300 and preemption send it."""
    shared = {"SOLVER__MAX_EPOCH": 3, "TEST__ENABLE": False}
    assert slurm("--cfg", CONFIG, *tiny_pairs(OUTPUT_DIR=tmp_path / "whole", **shared)).wait(250) == 0
    arguments = ["--cfg", CONFIG, *tiny_pairs(OUTPUT_DIR=tmp_path / "parts", **shared)]
    job, log = slurm(*arguments), tmp_path / "parts" / "stdout.log"
    while not log.exists() or "train_iter" not in log.read_text():
        assert job.poll() is None
        time.sleep(0.02)
    os.kill(int(Path(tmp_path / "srun.pid").read_text()), signal.SIGTERM)
    assert job.wait(100) == EXIT_STATUS and slurm.requeued.read_text() == f"requeue {slurm.job}\n"
    assert slurm(*arguments).wait(250) == 0
    assert_same(last(tmp_path / "whole", 3), last(tmp_path / "parts", 3))
