import logging
import os
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.cli import run_command
from slowfast_atfr.engine.launch import processes as launching
from slowfast_atfr.engine.launch.processes import launch, rank_from_torchrun, ranks_of_shard
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.errors import RunError
from tests.processes import free_port, start_processes

CPU = torch.device("cpu")
logger = logging.getLogger("slowfast_atfr.test")


@pytest.fixture(autouse=True)
def _no_torchrun(monkeypatch):
    for name in (*launching.TORCHRUN, "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def make_cfg(output_dir=".", **keys):
    cfg = get_cfg()
    cfg.NUM_GPUS, cfg.OUTPUT_DIR = 0, str(output_dir)
    for key, value in keys.items():
        node, leaf = (cfg[key.split("__")[0]], key.split("__")[1]) if "__" in key else (cfg, key)
        assert leaf in node
        node[leaf] = value
    cfg.freeze()
    return cfg


def torchrun_env(rank, world, local, here, port=29500):
    numbers = dict(zip(launching.TORCHRUN, map(str, (rank, world, local, here)), strict=True))
    return {**numbers, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}


# one process


def test_one_process_needs_no_group_and_no_port(tmp_path):
    seen = []
    launch(
        lambda cfg, rank: seen.append((cfg.NUM_GPUS, rank, dist.is_initialized())), make_cfg(tmp_path), "tcp://nowhere"
    )
    assert seen == [(0, RankInfo(), False)]
    assert (tmp_path / "stdout.log").exists()


def test_the_command_sets_malloc_and_launch_does_not(tmp_path, repo, malloc_settings):
    launch(lambda cfg, rank: None, make_cfg(tmp_path))
    assert not malloc_settings
    argv = ["--cfg", str(repo / "configs" / "Demo" / "3DRESNET18.yaml"), "NUM_GPUS", "0", "OUTPUT_DIR", str(tmp_path)]
    assert run_command(lambda cfg, rank: None, argv, prog="run", description="") == 0 and malloc_settings


def test_an_error_comes_through_as_it_is(tmp_path):
    def fail(cfg, rank):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        launch(fail, make_cfg(tmp_path))


def test_an_output_dir_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="OUTPUT_DIR is '.*file/out', which cannot be written: Not a directory"):
        launch(print, make_cfg(tmp_path / "file" / "out"))


# who is who


def test_shards_count_their_processes_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks = ranks_of_shard(make_cfg(NUM_GPUS=2, NUM_SHARDS=3, SHARD_ID=1))
    assert ranks == [RankInfo(2, 6, 0, 2, torch.device("cuda", 0)), RankInfo(3, 6, 1, 2, torch.device("cuda", 1))]
    assert ranks_of_shard(make_cfg(NUM_SHARDS=3, SHARD_ID=2)) == [RankInfo(2, 3, 0, 1, CPU)]


def test_torchrun_counts_by_itself(monkeypatch):
    assert rank_from_torchrun(make_cfg(), torchrun_env(3, 4, 1, 2)) == RankInfo(3, 4, 1, 2, CPU)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    on_gpu = rank_from_torchrun(make_cfg(NUM_GPUS=2), torchrun_env(3, 4, 1, 2))
    assert on_gpu == RankInfo(3, 4, 1, 2, torch.device("cuda", 1))


@pytest.mark.parametrize(
    ("gpus", "keys", "env", "told"),
    [
        (1, {"NUM_GPUS": 2}, (0, 2, 0, 2), r"NUM_GPUS is 2, this machine has 1 GPU\(s\); NUM_GPUS 0 runs on the CPU"),
        (8, {"NUM_GPUS": 4}, (0, 2, 0, 2), "LOCAL_WORLD_SIZE = 2 processes on this machine, NUM_GPUS is 4"),
        (0, {"TRAIN__BATCH_SIZE": 9}, (0, 2, 0, 2), "TRAIN.BATCH_SIZE is 9, shared by 2 processes"),
        (0, {"TEST__BATCH_SIZE": 9}, (0, 2, 0, 2), "TEST.BATCH_SIZE is 9, shared by 2 processes"),
        (0, {"NUM_SHARDS": 4}, (0, 4, 0, 2), r"NUM_SHARDS is 4, but torchrun runs 2 machine\(s\)"),
        (0, {"SOLVER__BASE_LR_SCALE_NUM_SHARDS": True}, (0, 4, 0, 2), "NUM_SHARDS is 1, but torchrun runs 2"),
    ],
)
def test_what_torchrun_and_the_config_disagree_about_is_told(monkeypatch, gpus, keys, env, told):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=told):
        rank_from_torchrun(make_cfg(**keys), torchrun_env(*env))


def test_half_of_torchruns_environment_is_told(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="but LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not"):
        launch(print, make_cfg())


def test_gpus_that_are_not_there_are_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=r"NUM_GPUS is 1, this machine has 0 GPU\(s\); NUM_GPUS 0 runs on the CPU"):
        launch(print, make_cfg(NUM_GPUS=1))


# several processes


@pytest.mark.parametrize("shard", [0, 1])
def test_a_shard_that_stays_alone_says_what_to_check(tmp_path, shard):
    cfg = make_cfg(tmp_path, NUM_SHARDS=2, SHARD_ID=shard)
    with pytest.raises(ConfigError) as error:
        launch(print, cfg, f"tcp://localhost:{free_port()}", rendezvous_seconds=1.0)
    told = str(error.value)
    assert f"process {shard} of 2 did not find the others at tcp://localhost:" in told
    assert "within 1 s" in told and "--shard_id" in told and "PORT" in told and not dist.is_initialized()


def test_an_init_method_that_is_none_is_told_at_once(tmp_path):
    with pytest.raises(ConfigError, match="did not find the others at host:99"):
        launch(print, make_cfg(tmp_path, NUM_SHARDS=2, SHARD_ID=1), "host:99")


def add_up(cfg, rank):
    assert rank.world_size == dist.get_world_size() == 2 and rank.rank == dist.get_rank()
    total = torch.tensor(1.0 + rank.rank)
    dist.all_reduce(total)
    logger.info("sum %d", total)
    logger.warning("warned by %d", rank.rank)


def _shard(shard, init_method, output_dir, agent_port):
    """Both ways to two processes, each launched twice, as training and testing may be."""
    torch.set_num_threads(1)
    with open(f"{output_dir}/screen{shard}", "w") as screen:
        os.dup2(screen.fileno(), 1)
    for _ in range(2):
        launch(add_up, make_cfg(output_dir, NUM_SHARDS=2, SHARD_ID=shard), init_method, rendezvous_seconds=30.0)
        assert not dist.is_initialized()
        time.sleep(0.5 * (shard == 0))  # so the other one is early, and may find what the first launch has left
    os.environ.update(torchrun_env(shard, 2, shard, 2, agent_port))
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT="0")
    for _ in range(2):
        launch(add_up, make_cfg(output_dir), rendezvous_seconds=30.0)
        time.sleep(0.5 * (shard == 0))


def test_shards_and_torchrun_make_one_group(tmp_path):
    agent = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # torchrun's, there for all launches
    start_processes(_shard, f"tcp://localhost:{free_port()}", str(tmp_path), agent.port)
    log = (tmp_path / "stdout.log").read_text()
    assert log.count("sum 3") == 4 and log.count("warned by 0") == 4 and "warned by 1" not in log
    out = "".join((tmp_path / f"screen{shard}").read_text() for shard in (0, 1))
    assert out.count("sum 3") == 4 and out.count("[WARNING][rank 1]") == 4


def step_under_ddp(cfg, rank):
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Conv3d(3, 4, 3))
    model.cycle = model  # only the garbage collector ends it
    model(torch.randn(2, 3, 5, 5, 5)).sum().backward()


def _leave_no_thread(shard, init_method, output_dir):
    threads = Path("/proc/self/task")
    launch(step_under_ddp, make_cfg(output_dir, NUM_SHARDS=2, SHARD_ID=shard), init_method, rendezvous_seconds=30.0)
    left = [name for name in ((thread / "comm").read_text() for thread in threads.iterdir()) if "gloo" in name]
    assert not left


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of threads")
def test_the_threads_of_a_group_end_with_it(tmp_path):
    start_processes(_leave_no_thread, f"tcp://localhost:{free_port()}", str(tmp_path))


def spawned_pair():
    return [RankInfo(rank, 2, rank, 2, CPU) for rank in range(2)]


def fail_on_rank_1(cfg, rank):
    if rank.rank == 1:
        raise ConfigError("SGS.KERNEL is 'cubic'") if cfg.SHARD_ID == 0 else ZeroDivisionError("deep inside")
    dist.barrier()  # would wait for ever


def leave(cfg, rank):
    if rank.rank == 1:
        sys.stdout.flush()
        os._exit(7)
    dist.barrier()


def spawn(fn, cfg):
    launching._spawn(fn, cfg, spawned_pair(), f"tcp://localhost:{free_port()}", 30.0)


@pytest.fixture
def _forked(monkeypatch):
    """Processes that are there at once, for what does not depend on how they start."""

    def spawn(fn, args, nprocs, join):
        return start_processes(fn, *args, world=nprocs, join=join)

    monkeypatch.setattr(launching.mp, "spawn", spawn)


@pytest.mark.parametrize("start", ["_forked", pytest.param("spawned", marks=pytest.mark.slow)])
def test_processes_of_a_machine_make_one_group_and_log(tmp_path, request, start):
    if start == "_forked":
        request.getfixturevalue(start)
    spawn(add_up, make_cfg(tmp_path))
    assert (tmp_path / "stdout.log").read_text().count("sum 3") == 1


@pytest.mark.usefixtures("_forked")
def test_a_failing_process_ends_the_others_and_is_told_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        spawn(fail_on_rank_1, make_cfg(tmp_path))
    assert str(error.value) == "SGS.KERNEL is 'cubic'"  # and no traceback: the message says all
    with pytest.raises(RuntimeError) as error:
        spawn(fail_on_rank_1, make_cfg(tmp_path, NUM_SHARDS=2, SHARD_ID=1))
    told = str(error.value)
    assert told.startswith("process 1 of 2 failed:") and told.count("ZeroDivisionError: deep inside") == 1
    assert "in fail_on_rank_1" in told


@pytest.mark.usefixtures("_forked")
def test_a_process_that_vanishes_ends_the_others(tmp_path):
    with pytest.raises(RunError, match="(exit code 7|no longer answers).*Start all processes again"):
        spawn(leave, make_cfg(tmp_path))
