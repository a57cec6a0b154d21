"""Several processes: what one process trains, and the same when they are killed. Minutes long."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from slowfast_atfr.datasets.demo import write_demo_dataset
from tests.processes import free_port
from tests.runs import assert_same, last, stats_of

CONFIG = "configs/Demo/SLOWFAST_R18.yaml"
RUN = "tools/run_net.py"
DOUBLE = "tests/engine/double.py"


def shards(script, arguments, count):
    """Commands of so many machines, on the CPU, where a machine has one process."""
    where = ["--num_shards", str(count), "--init_method", f"tcp://localhost:{free_port()}"]
    return [[sys.executable, *script, *arguments, *where, "--shard_id", str(shard)] for shard in range(count)]


def torchrun(script, arguments, *, nodes=1, options=()):
    """Commands of so many machines with two processes each."""
    where = ["--nproc_per_node", "2", "--nnodes", str(nodes), "--master_addr", "localhost"]
    where += ["--master_port", str(free_port()), *options]
    start = [sys.executable, "-m", "torch.distributed.run", *where]
    return [[*start, "--node_rank", str(node), *script, *arguments] for node in range(nodes)]


def start(commands, repo):
    """All at once, each in a process group of its own."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "start_new_session": True}
    return [subprocess.Popen(command, cwd=repo, env=env, **options) for command in commands]


def finish(processes, timeout=280):
    """Exit statuses and outputs."""
    outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def run(commands, repo):
    statuses, outputs = finish(start(commands, repo))
    assert not any(statuses), "\n".join(outputs)


def killed(places, marks, arguments, commands, **options):
    """Commands whose processes kill themselves; see killed_run.py."""
    marks.mkdir(exist_ok=True)
    return commands(["tests/engine/killed_run.py", str(marks), places], arguments, **options)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["shards", "torchrun"])
def test_four_processes_train_what_one_does(repo, tiny_pairs, tmp_path, launcher):
    """Clips have different numbers of frames behind SGS, so processes do; torchrun's four are on two machines.

    SGS measures in float32, all else is in float64, so the losses of six steps agree to 1e-5.
    """
    shared = {"MODEL__DROPOUT_RATE": 0.0, "SGS__KERNEL": "linear_mean", "BN__NORM_TYPE": "sync_batchnorm"}
    shared |= {"BN__NUM_SYNC_DEVICES": 4, "BN__USE_PRECISE_STATS": False, "SOLVER__BASE_LR": 0.01}
    one = tiny_pairs(**shared, TRAIN__BATCH_SIZE=4, OUTPUT_DIR=tmp_path / "one")
    run([[sys.executable, DOUBLE, "--cfg", CONFIG, *one]], repo)
    machines = 4 if launcher == "shards" else 2
    four = tiny_pairs(**shared, TRAIN__BATCH_SIZE=4 // machines, OUTPUT_DIR=tmp_path / "four")
    arguments = ["--cfg", CONFIG, *four]
    run(shards([DOUBLE], arguments, 4) if launcher == "shards" else torchrun([DOUBLE], arguments, nodes=2), repo)
    alone, together = (stats_of(tmp_path / name, "train_iter") for name in ("one", "four"))
    assert len(alone) == len(together) == 6
    for name in ("loss", "active_bins_s2_fast", "gflops_per_clip"):
        values = [[stats[name] for stats in each] for each in (alone, together)]
        assert values[1] == pytest.approx(values[0], rel=1e-5), name
    assert len({stats["active_bins_s2_fast"] for stats in alone}) > 1
    (final,), (final_of_four,) = (stats_of(tmp_path / name, "test_final") for name in ("one", "four"))
    assert final_of_four["num_videos"] == final["num_videos"] == 5


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_with_a_sentence(repo, tiny_pairs, tmp_path):
    arguments = ["--cfg", CONFIG, *tiny_pairs(TRAIN__BATCH_SIZE=2, SOLVER__MAX_EPOCH=50, DIST_TIMEOUT=1.0)]
    begin = time.monotonic()
    (first, second), (told, _) = finish(start(killed("1:0:1", tmp_path / "marks", arguments, shards, count=2), repo))
    assert second == -signal.SIGKILL and first == 1 and time.monotonic() - begin < 120
    assert "error: process 0 of 2: another process of this run no longer answers" in told
    assert "Start all processes again by the same command" in told and "Traceback" not in told


@pytest.mark.slow
def test_torchrun_brings_a_run_back_as_if_nothing_had_been_killed(repo, tiny_pairs, tmp_path):
    shared = {"TRAIN__BATCH_SIZE": 4, "TRAIN__CHECKPOINT_ITERATIONS": 1, "SOLVER__MAX_EPOCH": 2}
    whole, parts = (tiny_pairs(OUTPUT_DIR=tmp_path / name, **shared) for name in ("whole", "parts"))
    run(torchrun([RUN], ["--cfg", CONFIG, *whole]), repo)
    options, marks = ["--max_restarts", "2"], tmp_path / "marks"
    run(killed("1:0:1,0:1:2", marks, ["--cfg", CONFIG, *parts], torchrun, options=options), repo)
    assert len(list(marks.iterdir())) == 2
    assert_same(last(tmp_path / "whole", 2), last(tmp_path / "parts", 2))


MULTIGRID = """
MULTIGRID.LONG_CYCLE True MULTIGRID.SHORT_CYCLE True MULTIGRID.SHORT_CYCLE_FACTORS [0.75,0.9] MULTIGRID.BN_BASE_SIZE 2
MULTIGRID.EPOCH_FACTOR 1.0 DATA.NUM_FRAMES 16 SLOWFAST.ALPHA 2 SGS.BLOCK_SIZE [2,4] RESNET.WIDTH_PER_GROUP 8
DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40] TRAIN.BATCH_SIZE 1 SOLVER.BASE_LR 1e-4
SOLVER.LR_POLICY steps_with_relative_lrs SOLVER.STEPS [0,6,9] SOLVER.LRS [1,0.1,0.01] SOLVER.MAX_EPOCH 10
BN.NUM_BATCHES_PRECISE 2 TRAIN.CHECKPOINT_ITERATIONS 2 LOG_PERIOD 1 DATA_LOADER.NUM_WORKERS 1
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_multigrid_run_of_two_processes_survives_kills_at_random_moments(repo, tmp_path):
    data = write_demo_dataset(tmp_path / "data", videos_per_class_train=3, videos_per_class_val=1)
    where = ["DATA.PATH_TO_DATA_DIR", str(data), "DATA.PATH_PREFIX", str(data / "videos"), *MULTIGRID.split()]
    whole, parts = (["--cfg", "configs/Demo/SLOWFAST_R18_ATFR.yaml", *where, "OUTPUT_DIR", str(tmp_path / name)]
                    for name in ("whole", "parts"))  # fmt: skip
    run(shards([RUN], whole, 2), repo)
    log = (tmp_path / "whole" / "stdout.log").read_text()
    steps, rng = log.count("train_iter"), random.Random(0)
    for frames, pixels in ((4, 23), (8, 23), (8, 32), (16, 32)):
        assert f"clips of {frames} frames and {pixels} pixels" in log
    assert "in turn: " in log and all(f"of {crop} pixels" in log for crop in (24, 29))
    for _ in range(3):
        processes, seen = start(shards([RUN], parts, 2), repo), rng.randrange(1, steps // 3)
        for line in processes[0].stdout:
            seen -= "train_iter" in line
            if seen == 0:
                break
        time.sleep(rng.random() / 4)  # within an iteration, a checkpoint, a validation
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
        assert finish(processes)[0] == [-signal.SIGKILL] * 2
    run(shards([RUN], parts, 2), repo)
    assert_same(last(tmp_path / "whole", 10), last(tmp_path / "parts", 10))
