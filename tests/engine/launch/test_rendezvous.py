"""Processes that cannot become one run say why within their time, and those that can meet whatever lies about."""

import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.distributed as dist

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.engine.launch import rendezvous as group
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.engine.launch.rendezvous import lost_process
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.stop import Stopped
from tests.processes import free_port


def make_cfg(output_dir, shard=0, shards=2):
    cfg = get_cfg()
    cfg.NUM_GPUS, cfg.NUM_SHARDS, cfg.SHARD_ID, cfg.OUTPUT_DIR = 0, shards, shard, str(output_dir)
    return cfg


def outcomes(where, processes, seconds=20.0):
    """What becomes of processes (rank, world), each in a thread: the name of the launch they met in, or the error."""

    def meet(rank, world):
        try:
            return group._agree_on_store(RankInfo(rank, world), where, time.monotonic() + seconds)
        except (ConfigError, RuntimeError) as error:
            return error

    with ThreadPoolExecutor(len(processes)) as pool:
        results = list(pool.map(lambda process: meet(*process), processes))  # with the stores, until all are done
    return [result if isinstance(result, Exception) else result[1] for result in results]


@pytest.fixture(autouse=True)
def _no_lingering(monkeypatch):
    monkeypatch.setattr(group, "LINGER", 0.5)


@pytest.fixture
def shared_store(monkeypatch):
    """Where all meet: a store that outlives launches, as torchrun's does."""
    store = dist.HashStore()
    monkeypatch.setattr(group, "_connect", lambda *_: store)
    return store


@pytest.fixture
def where():
    return f"tcp://localhost:{free_port()}"


def test_all_processes_of_a_launch_meet_over_the_network(where):
    names = outcomes(where, [(2, 3), (0, 3), (1, 3)])
    assert len(set(names)) == 1 and isinstance(names[0], str)


def test_what_earlier_launches_have_left_in_a_store_confuses_nobody(shared_store):
    shared_store.set("call", json.dumps({"id": "old", "world": 4, "who": "gone"}))  # whose world was larger, and
    shared_store.set("old/answer/1", json.dumps({"id": "older", "world": 4}))  # which ended before all had answered
    first = outcomes("", [(0, 2), (1, 2)])
    early = ThreadPoolExecutor(1).submit(outcomes, "", [(1, 2)])  # finds the first launch's call and list
    time.sleep(0.5)
    second = outcomes("", [(0, 2)]) + early.result()
    assert first[0] == first[1] != second[0] == second[1]


def test_other_numbers_of_machines_are_told_to_all(where):
    two, three = outcomes(where, [(0, 2), (1, 3)])
    for error in (two, three):
        assert isinstance(error, ConfigError)
        assert "process 1 (" in str(error) and "one of 3 processes" in str(error) and "as one of 2" in str(error)
        assert "NUM_SHARDS and NUM_GPUS must be the same on all machines" in str(error)


def test_a_shard_id_that_is_taken_is_told(shared_store):
    first, *same = outcomes("", [(0, 2), (1, 2), (1, 2)], seconds=1.0)
    (error,) = [each for each in same if isinstance(each, Exception)]
    (name,) = [each for each in same if not isinstance(each, Exception)]
    assert name == first and isinstance(error, ConfigError)
    assert "this is process 1 (" in str(error) and "the run has such a process already: " in str(error)
    assert "Give every machine its own --shard_id" in str(error)


def test_those_that_are_missing_are_named(shared_store):
    error, other = outcomes("", [(0, 16), (3, 16)], seconds=0.5)
    assert str(error) == "no answer from process 1, 2, 4, 5, 6, 7, 8, 9, 10, 11 and 4 more"
    assert str(other) == "the first process has called, and waits for others"


@pytest.mark.parametrize("shard", [0, 1])
def test_a_host_that_is_none_is_told(tmp_path, shard):
    with pytest.raises(ConfigError) as error:
        launch(print, make_cfg(tmp_path, shard), "tcp://no-such-host.invalid:4321", rendezvous_seconds=0.1)
    told = str(error.value)
    assert f"process {shard} of 2 cannot find the machine 'no-such-host.invalid'" in told and "--init_method" in told


@pytest.mark.parametrize("shard", [0, 1])
def test_nobody_who_listens_is_told_within_the_time(tmp_path, where, shard):
    """torch's own client takes two to three times its limit."""
    start = time.monotonic()
    with pytest.raises(ConfigError) as error:
        launch(print, make_cfg(tmp_path, shard), where, rendezvous_seconds=2.0)
    told = str(error.value)
    assert time.monotonic() - start < 4 and f"did not find the others at {where} within 2 s" in told
    for word in ("--shard_id", "--init_method", "firewall", "GLOO_SOCKET_IFNAME", "docs/multi_node.md"):
        assert word in told


def test_a_task_of_slurm_is_told_of_slurms_variables(tmp_path, where, monkeypatch):
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_NODEID": "1"}
    step |= {"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_STEP_NODELIST": "n[1-2]", "MASTER_ADDR": "localhost"}
    for name, value in (step | {"MASTER_PORT": where.rpartition(":")[2]}).items():
        monkeypatch.setenv(name, value)
    cfg = make_cfg(tmp_path, 0).clone()
    cfg.defrost()
    cfg.NUM_SHARDS = 1
    with pytest.raises(ConfigError) as error:
        launch(print, cfg, rendezvous_seconds=1.0)
    assert "MASTER_ADDR" in str(error.value) and "--shard_id" not in str(error.value)


def test_a_run_that_is_told_to_end_does_not_wait_for_the_others(tmp_path, where):
    start, timer = time.monotonic(), threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(Stopped, match="before its processes were connected"):
        launch(print, make_cfg(tmp_path, 0), where, rendezvous_seconds=60.0)
    assert time.monotonic() - start < 10


def test_a_port_in_use_is_told_at_once(tmp_path, where):
    with socket.socket() as other:
        other.bind(("", int(where.rpartition(":")[2])))
        other.listen()
        start = time.monotonic()
        with pytest.raises(ConfigError, match="the port is in use: .* --shard_id 0. Choose another port"):
            launch(print, make_cfg(tmp_path), where, rendezvous_seconds=30.0)
        assert time.monotonic() - start < 15


def test_an_interface_that_is_none_is_told(tmp_path, where, monkeypatch):
    """gloo looks for it when it connects, which is after all have met."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "no-such-interface")
    monkeypatch.setattr(group, "_call", lambda *_: "name")
    with pytest.raises(ConfigError, match="did not find the others .*no-such-interface.*GLOO_SOCKET_IFNAME"):
        launch(print, make_cfg(tmp_path), where, rendezvous_seconds=1.0)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]"),
        dist.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:1970, remote process exited"),
        dist.DistNetworkError("failed to recv, got 0 bytes"),
    ],
)
def test_what_a_lost_process_leaves_the_others_with_is_put_in_words(error):
    told = lost_process(error)
    assert str(error) in told and "killed" in told and "resumes from the newest checkpoint in OUTPUT_DIR" in told


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), KeyError("peer"), ZeroDivisionError()])
def test_errors_of_this_process_are_its_own(error):
    assert lost_process(error) is None


def test_a_pytorch_without_nccl_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(dist, "is_nccl_available", lambda: False)
    with pytest.raises(ConfigError, match="DIST_BACKEND is 'nccl', and this PyTorch comes without NCCL; choose gloo"):
        group.join_group(make_cfg(tmp_path), RankInfo(0, 2, 0, 1, torch.device("cuda", 0)), "tcp://nowhere:1", 1.0)
