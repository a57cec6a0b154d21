"""Jobs of tools/slurm/train.sbatch under a real Slurm: told to end, killed, mistyped, preempted."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slowfast_atfr.engine.cli import main
from tests.cluster.slurm_cluster import slurm_cluster, why_not
from tests.runs import assert_same, last, stats_of

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
CONFIG = "configs/Demo/SLOWFAST_R18.yaml"
EPOCHS = 4
SETTINGS = {
    "DATA_LOADER__NUM_WORKERS": 1,
    "SOLVER__MAX_EPOCH": EPOCHS,
    "SOLVER__BASE_LR": 1e-4,
    "SGS__KERNEL": "linear_mean",
    "TRAIN__BATCH_SIZE": 2,
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if why_not():
        pytest.skip(why_not())
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as env:
        yield env


class Job:
    """A job of train.sbatch, its log and its OUTPUT_DIR."""

    def __init__(self, env, number, log, out):
        self.env, self.number, self.log, self.out = env, number, log, out

    def call(self, *command):
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    def show(self, field):
        found = re.search(rf"\b{field}=(\S+)", self.call("scontrol", "show", "job", self.number))
        return found[1] if found else ""

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_for(self, text, seconds=120):
        """Wait until the log has a text."""
        deadline = time.monotonic() + seconds
        while text not in self.text():
            assert time.monotonic() < deadline, f"no {text!r} in {self.text()[-3000:]}"
            time.sleep(0.05)

    def wait_until(self, *states, seconds=240, hurry=True):
        """Wait for a state of the job; one that has queued again is made to start now, not two minutes later."""
        deadline, seen = time.monotonic() + seconds, []
        while True:
            state = self.show("JobState")
            seen.append(state)
            queues_again = "DUE TO JOB REQUEUE" in self.text()[-200:]  # and has failed for a moment
            if state in states and set(seen[-4:]) == {state} and len(seen) >= 4 and not queues_again:
                return state
            assert time.monotonic() < deadline, f"job is {state}: {self.text()[-3000:]}"
            if hurry and seen[-4:] == ["PENDING"] * 4:  # sooner, nodes take it for the job that they have just ended
                self.call("scontrol", "update", f"jobid={self.number}", "StartTime=now")
            time.sleep(1.5)


@pytest.fixture
def submit(cluster, repo, tiny_pairs, tmp_path):
    """Submit a job as a user would; keyword arguments are pairs of its config."""
    jobs = []

    def start(name, *, options=(), env=(), nodes=2, tasks=1, **changes):
        log, out = tmp_path / f"{name}{len(jobs)}.log", tmp_path / name
        pairs = tiny_pairs(**{**SETTINGS, "OUTPUT_DIR": out, **changes})
        sizes = [f"--nodes={nodes}", f"--ntasks-per-node={tasks}", "--gpus-per-node=0", "--cpus-per-task=1"]
        own = {"MASTER_ADDR": "127.0.0.1", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo)}
        own = os.environ | cluster | own | dict(env)
        command = ["sbatch", "--parsable", *sizes, "--time=10", f"--output={log}", *options]
        command += [str(repo / "tools/slurm/train.sbatch"), "--cfg", str(repo / CONFIG), *pairs]
        done = subprocess.run(command, env=own, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        jobs.append(Job(own, done.stdout.strip(), log, out))
        return jobs[-1]

    yield start
    for job in jobs:
        job.call("scancel", job.number)


@pytest.fixture(scope="module")
def whole(cluster, tmp_path_factory):
    """A folder that keeps the uninterrupted run of this module, for each number of nodes."""
    return {"folder": tmp_path_factory.mktemp("whole")}


@pytest.fixture
def uninterrupted(submit, whole):
    """The OUTPUT_DIR of a run of so many nodes and epochs that nobody told to end."""

    def of(nodes, epochs):
        if (nodes, epochs) not in whole:
            out = whole["folder"] / f"{nodes}_{epochs}"
            shape = {"nodes": nodes, "tasks": 2 // nodes, "TRAIN__BATCH_SIZE": 2 * 2 // nodes}
            job = submit("whole", OUTPUT_DIR=out, SOLVER__MAX_EPOCH=epochs, **shape)
            assert job.wait_until("COMPLETED", "FAILED") == "COMPLETED", job.text()[-3000:]
            whole[nodes, epochs] = out
        return whole[nodes, epochs]

    return of


def assert_is_whole(uninterrupted, job, nodes=2, epochs=EPOCHS):
    assert_same(last(uninterrupted(nodes, epochs), epochs), last(job.out, epochs))
    assert len(stats_of(job.out, "test_final")) == 1


MOMENTS = {"training": '"iter": "2/', "validation": '"_type": "val_iter"', "test": '"_type": "test_iter"'}


@pytest.mark.parametrize("nodes", [2, 1])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_job_that_is_told_to_end_queues_again_and_is_the_run_that_was_not(submit, uninterrupted, moment, nodes):
    job = submit("told", nodes=nodes, tasks=2 // nodes, TRAIN__BATCH_SIZE=2 * 2 // nodes, LOG_PERIOD=1)
    job.wait_for(MOMENTS[moment])
    job.call("scancel", "--signal=TERM", job.number)
    assert job.wait_until("COMPLETED", "FAILED") == "COMPLETED", job.text()[-3000:]
    assert int(job.show("Restarts")) == 1 and "the run was interrupted (SIGTERM" in job.text()
    assert "DataLoader worker" not in job.text() and "terminate called" not in job.text()
    assert_is_whole(uninterrupted, job, nodes)


@pytest.mark.parametrize("way", ["scancel", "requeue", "time limit", "preemption"])
def test_whatever_ends_a_job_leaves_a_checkpoint_to_go_on_from(submit, uninterrupted, way):
    options, epochs = ([], EPOCHS) if way != "time limit" else (["--time=1", "--signal=TERM@30"], 40)
    job = submit("ended", options=options, SOLVER__MAX_EPOCH=epochs)
    job.wait_for('"iter": "2/')
    if way == "scancel":
        job.call("scancel", job.number)
        job.wait_until("CANCELLED", "FAILED", hurry=False)
        time.sleep(3)
        assert job.show("JobState") == "CANCELLED" and int(job.show("Restarts")) == 0  # it stays where it was put
        job = submit("ended", SOLVER__MAX_EPOCH=epochs)
    elif way == "requeue":
        job.call("scontrol", "requeue", job.number)
    elif way == "preemption":
        urgent = submit("urgent", options=["--partition=hi", "--exclusive"], SOLVER__MAX_EPOCH=1, TEST__ENABLE=False)
        assert urgent.wait_until("COMPLETED", "FAILED") == "COMPLETED"
    assert job.wait_until("COMPLETED", "FAILED", "TIMEOUT", seconds=400) == "COMPLETED", job.text()[-3000:]
    if way in ("requeue", "preemption"):
        assert int(job.show("Restarts")) >= 1
    assert "the run was interrupted (SIGTERM" in "".join(path.read_text() for path in job.log.parent.glob("ended*.log"))
    assert_is_whole(uninterrupted, job, epochs=epochs)


@pytest.mark.parametrize("nodes", [2, 1])
def test_losses_are_those_of_one_process(submit, repo, tiny_pairs, tmp_path, nodes):
    shared = {"MODEL__DROPOUT_RATE": 0.0, "SOLVER__MAX_EPOCH": 2, "BN__NORM_TYPE": "sync_batchnorm"}
    shared |= {"BN__NUM_SYNC_DEVICES": 2, "LOG_PERIOD": 1}
    alone = tiny_pairs(**{**SETTINGS, **shared, "TRAIN__BATCH_SIZE": 12, "OUTPUT_DIR": tmp_path / "alone"})
    assert main(["--cfg", str(repo / CONFIG), *alone]) == 0
    job = submit("together", nodes=nodes, tasks=2 // nodes, TRAIN__BATCH_SIZE=12 // nodes, **shared)
    assert job.wait_until("COMPLETED", "FAILED") == "COMPLETED", job.text()[-3000:]
    losses = [[entry["loss"] for entry in stats_of(out, "train_iter")] for out in (tmp_path / "alone", job.out)]
    assert len(losses[0]) == 2 and losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[1][0] == pytest.approx(losses[0][0], rel=2e-6)  # before rounding has gone through a step


def test_a_task_that_is_killed_ends_the_job(submit):
    job = submit("killed", SOLVER__MAX_EPOCH=10**6)
    job.wait_for('"iter": "2/')
    pids = subprocess.run(["pgrep", "-f", f"run_net.py.*OUTPUT_DIR {job.out}"], capture_output=True, text=True).stdout
    tasks = [pid for pid in map(int, pids.split()) if b"SLURM_PROCID=1\0" in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(min(tasks), 9)
    assert job.wait_until("COMPLETED", "FAILED", "PENDING", seconds=60, hurry=False) == "FAILED"
    time.sleep(3)
    assert job.show("JobState") == "FAILED" and job.show("Restarts") == "0"
    assert "the first failure: srun: error" in job.text().strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "env", "told"),
    [
        ({"SOLVER__MAX_EPOHC": 3}, {}, "unknown key SOLVER.MAX_EPOHC"),
        ({}, {"MASTER_ADDR": "no.such.node.invalid"}, "MASTER_ADDR"),
        ({}, {"MASTER_PORT": "PORT"}, "in use"),
    ],
    ids=["a mistyped key", "a node without an address", "a port in use"],
)
def test_a_job_that_cannot_start_fails_once_and_says_why_last(submit, cluster, changes, env, told):
    port = re.search(r"SlurmctldPort=(\d+)", Path(cluster["SLURM_CONF"]).read_text())[1]
    began = time.monotonic()
    job = submit("wrong", env={name: value.replace("PORT", port) for name, value in env.items()}, **changes)
    assert job.wait_until("COMPLETED", "FAILED", "PENDING_AGAIN", seconds=100) == "FAILED", job.text()[-3000:]
    assert time.monotonic() - began < 100 and job.show("Restarts") == "0"
    final = job.text().strip().splitlines()[-1]
    assert "the first failure: error: " in final and told in final and "--shard_id" not in final


SLOW_START = """#!{python}
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # what comes is kept, as it is while torch is imported
time.sleep(35)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_a_job_whose_time_is_shorter_than_the_signals_lead_ends(submit, tmp_path):
    """Slurm sends the signal within half a minute, here before the run has begun to train."""
    python = tmp_path / "python"
    python.write_text(SLOW_START.format(python=sys.executable))
    python.chmod(0o755)
    job = submit("hurried", options=["--time=2", "--signal=TERM@300"], env={"PYTHON": str(python)})
    assert job.wait_until("COMPLETED", "FAILED", "TIMEOUT", seconds=300) == "FAILED", job.text()[-3000:]
    assert int(job.show("Restarts")) == 1
    assert "another start would not help: give the run more time" in job.text().strip().splitlines()[-1]
