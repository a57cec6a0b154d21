"""Runs that srun starts, from the environment that it gives to its tasks."""

import logging
import os

import pytest
import torch
import torch.distributed as dist

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.launch.processes import launch, rank_from_slurm
from slowfast_atfr.engine.launch.slurm import first_host, is_slurm_task, rendezvous_address, tasks_per_node
from slowfast_atfr.utils.distributed import RankInfo
from tests.processes import start_processes

logger = logging.getLogger("slowfast_atfr.test_slurm")


def task(rank, world, local, here, **more):
    """Environment of one of srun's tasks, on nodes of `here` tasks each."""
    nodes = world // here
    return {
        "SLURM_JOB_ID": "4242",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(local),
        "SLURM_NODEID": str(rank // here),
        "SLURM_STEP_NUM_TASKS": str(world),
        "SLURM_STEP_TASKS_PER_NODE": f"{here}(x{nodes})" if nodes > 1 else str(here),
        "SLURM_STEP_NODELIST": "localhost",
        **more,
    }


def make_cfg(output_dir=".", **keys):
    cfg = get_cfg()
    cfg.NUM_GPUS, cfg.OUTPUT_DIR = 0, str(output_dir)
    for key, value in keys.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


@pytest.mark.parametrize(
    ("nodelist", "host"),
    [
        ("gpu7", "gpu7"),
        ("gpu7,gpu9", "gpu7"),
        ("gpu[03-05,9]", "gpu03"),
        ("gpu[9,11]-ib,login", "gpu9-ib"),
        ("rack[1-2]n[004-006]", "rack1n004"),
        ("10.0.0.5", "10.0.0.5"),
    ],
)
def test_the_first_host_of_a_list(nodelist, host):
    assert first_host(nodelist) == host


def test_tasks_of_each_node():
    assert tasks_per_node("8(x2),4") == [8, 8, 4]
    with pytest.raises(ConfigError, match="SLURM_STEP_TASKS_PER_NODE is 'eight'"):
        tasks_per_node("eight")


def test_all_tasks_of_a_step_meet_in_one_place_and_other_steps_elsewhere():
    points = {rendezvous_address(task(rank, 4, rank % 2, 2)) for rank in range(4)}
    assert len(points) == 1
    others = [{"SLURM_STEP_ID": "1"}, {"SLURM_JOB_ID": "4243"}, {"SLURM_STEP_NODELIST": "gpu[1-2]"}]
    assert len({rendezvous_address(task(0, 4, 0, 2, **other)) for other in others} - points) == 3
    own = rendezvous_address(task(0, 4, 0, 2, MASTER_ADDR="head", MASTER_PORT="1234"))
    assert own == "tcp://head:1234"


@pytest.mark.parametrize("env", [{}, {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, {"SLURM_STEP_NUM_TASKS": "1"}])
def test_a_batch_script_and_a_lone_task_are_no_tasks(env):
    assert not is_slurm_task(env)


def test_ranks_are_slurms(monkeypatch):
    assert rank_from_slurm(make_cfg(), task(3, 4, 1, 2)) == RankInfo(3, 4, 1, 2, torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert rank_from_slurm(make_cfg(NUM_GPUS=2), task(3, 4, 1, 2)).device == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # --gpus-per-task 1
    assert rank_from_slurm(make_cfg(NUM_GPUS=2), task(3, 4, 1, 2)).device == torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("keys", "more", "told"),
    [
        ({"NUM_GPUS": 4}, {}, "SLURM_STEP_TASKS_PER_NODE = 2 processes on this machine, NUM_GPUS is 4"),
        ({"NUM_GPUS": 2}, {}, r"NUM_GPUS is 2, this machine has 0 GPU\(s\)"),
        ({"TRAIN__BATCH_SIZE": 9}, {}, "TRAIN.BATCH_SIZE is 9, shared by 2 processes"),
        ({"SOLVER__BASE_LR_SCALE_NUM_SHARDS": True}, {}, "srun runs 2 machines"),
        ({}, {"SLURM_STEP_TASKS_PER_NODE": "2,1"}, r"nodes have \[2, 1\] tasks.*--ntasks-per-node"),
    ],
)
def test_what_slurm_and_the_config_disagree_about_is_told(monkeypatch, keys, more, told):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match=told):
        rank_from_slurm(make_cfg(**keys), task(0, 4, 0, 2, **more))


def test_half_of_slurms_environment_is_told(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.delenv("SLURM_LOCALID", raising=False)
    with pytest.raises(ConfigError, match="SLURM_STEP_NUM_TASKS is in the environment, but .*SLURM_LOCALID"):
        launch(print, make_cfg())


def add_up(cfg, rank):
    total = torch.tensor(1.0 + rank.rank)
    dist.all_reduce(total)
    logger.info("sum %d", total)


def _task(rank, output_dir, job):
    torch.set_num_threads(1)
    os.environ.update(task(rank, 2, rank, 2, SLURM_JOB_ID=job))
    launch(add_up, make_cfg(output_dir), rendezvous_seconds=30.0)


def test_sruns_tasks_make_one_group(tmp_path):
    start_processes(_task, str(tmp_path), str(os.getpid()))
    assert (tmp_path / "stdout.log").read_text().count("sum 3") == 1
