"""The processes of a run: those of torchrun or srun, or NUM_GPUS on each of NUM_SHARDS machines.

Ranks count machine by machine. For two processes on one CPU use two shards with NUM_GPUS 0, or torchrun.
"""

import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.multiprocessing as mp
from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.launch.consistency import check_config, check_folder
from slowfast_atfr.engine.launch.preflight import check_files
from slowfast_atfr.engine.launch.rendezvous import HOW_TO_RESUME, join_group, leave_group, lost_process
from slowfast_atfr.engine.launch.slurm import is_slurm_task, place_in_slurm, rendezvous_address
from slowfast_atfr.engine.launch.stops import record_stop
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.logging import setup_logging
from slowfast_atfr.utils.stop import Stopped, pass_signals_to

Main = Callable[[CfgNode, RankInfo], Any]
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
USER_ERRORS = (ConfigError, FloatingPointError, RunError)  # printed without a traceback


def launch(
    fn: Main, cfg: CfgNode, init_method: str = "tcp://localhost:9999", *, rendezvous_seconds: float = 60.0
) -> None:
    """Run `fn(cfg, rank)` in every process of this machine, with logs, device and process group set up; wait for all.

    Args:
        fn: a top-level function of its module (it is pickled to spawn processes).
        cfg: reads NUM_GPUS, NUM_SHARDS, SHARD_ID, DIST_BACKEND, OUTPUT_DIR.
        init_method: tcp://HOST:PORT of the first machine; ignored under torchrun, srun, and in a run of one process.
        rendezvous_seconds: time-out of the connection between processes.
    Raises:
        ConfigError: if a file that the config names is missing, machine and config do not fit, or the processes do not
            connect.
        RuntimeError: with the traceback of the first spawned process that fails; the others are ended.
    """
    check_files(cfg)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _run(fn, cfg, rank_from_torchrun(cfg, os.environ), "env://", rendezvous_seconds)
        return
    if cfg.NUM_SHARDS == 1 and is_slurm_task(os.environ):  # with shards, srun starts one task for each machine
        rank = rank_from_slurm(cfg, os.environ)
        _run(fn, cfg, rank, rendezvous_address(os.environ), rendezvous_seconds)
        return
    ranks = ranks_of_shard(cfg)
    if len(ranks) == 1:
        _run(fn, cfg, ranks[0], init_method, rendezvous_seconds)
    else:
        _spawn(fn, cfg, ranks, init_method, rendezvous_seconds)


def ranks_of_shard(cfg: CfgNode) -> list[RankInfo]:
    """Return the processes of this machine: one for each of NUM_GPUS, or one on the CPU.

    Raises:
        ConfigError: if the machine has fewer GPUs.
    """
    _check_gpus(cfg)
    here = max(1, cfg.NUM_GPUS)
    return [
        RankInfo(cfg.SHARD_ID * here + local, here * cfg.NUM_SHARDS, local, here, _device(cfg, local))
        for local in range(here)
    ]


def rank_from_torchrun(cfg: CfgNode, env: Mapping[str, str]) -> RankInfo:
    """Return this process's ranks from torchrun's environment variables.

    Raises:
        ConfigError: if one is missing, or NUM_GPUS, NUM_SHARDS or a BATCH_SIZE does not fit them.
    """
    missing = [name for name in (*TORCHRUN, "MASTER_ADDR", "MASTER_PORT") if name not in env]
    if missing:
        raise ConfigError(
            f"RANK and WORLD_SIZE are in the environment, but {', '.join(missing)} are not; "
            "start with torchrun, which sets them all, or unset those two"
        )
    rank, world, local, here = (int(env[name]) for name in TORCHRUN)
    _check_gpus(cfg)
    machines = world // here
    if machines != cfg.NUM_SHARDS and (cfg.NUM_SHARDS > 1 or cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS):
        raise ConfigError(f"NUM_SHARDS is {cfg.NUM_SHARDS}, but torchrun runs {machines} machine(s); set it to that")
    _check_started(cfg, here, "torchrun started LOCAL_WORLD_SIZE =", "--nproc_per_node")
    return RankInfo(rank, world, local, here, _device(cfg, local))


def rank_from_slurm(cfg: CfgNode, env: Mapping[str, str]) -> RankInfo:
    """Return this process's ranks from srun's environment variables.

    Raises:
        ConfigError: if one is missing, or NUM_GPUS or a BATCH_SIZE does not fit them.
    """
    rank, world, local, here = place_in_slurm(env)
    if world // here > 1 and cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS:
        raise ConfigError(
            f"SOLVER.BASE_LR_SCALE_NUM_SHARDS uses NUM_SHARDS, which is 1, but srun runs {world // here} machines; "
            "set it to False and scale SOLVER.BASE_LR yourself"
        )
    _check_started(cfg, here, "srun started SLURM_STEP_TASKS_PER_NODE =", "--ntasks-per-node")
    one_each = torch.cuda.device_count() == 1  # with --gpus-per-task 1
    if not one_each:
        _check_gpus(cfg)
    return RankInfo(rank, world, local, here, _device(cfg, 0 if one_each else local))


def _check_started(cfg: CfgNode, here: int, started: str, option: str) -> None:
    """Check the config against the `here` processes that a launcher has started on this machine."""
    if cfg.NUM_GPUS not in (0, here):
        raise ConfigError(
            f"{started} {here} processes on this machine, NUM_GPUS is {cfg.NUM_GPUS}; "
            f"they must be equal: NUM_GPUS {here}, or {option} {cfg.NUM_GPUS} (NUM_GPUS 0 runs on the CPU)"
        )
    for section in ("TRAIN", "TEST"):
        batch = cfg[section].BATCH_SIZE
        if batch % here:
            raise ConfigError(f"{section}.BATCH_SIZE is {batch}, shared by {here} processes: take a multiple of {here}")


def _check_gpus(cfg: CfgNode) -> None:
    found = torch.cuda.device_count()
    if found < cfg.NUM_GPUS:
        raise ConfigError(f"NUM_GPUS is {cfg.NUM_GPUS}, this machine has {found} GPU(s); NUM_GPUS 0 runs on the CPU")


def _device(cfg: CfgNode, local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if cfg.NUM_GPUS else torch.device("cpu")


def _run(fn: Main, cfg: CfgNode, rank: RankInfo, init_method: str, rendezvous_seconds: float) -> None:
    """Run one process, from its logs to the end of its group; interruptions are recorded in rank.stop."""
    try:
        setup_logging(cfg.OUTPUT_DIR, rank.rank)
    except OSError as error:
        raise ConfigError(f"OUTPUT_DIR is {cfg.OUTPUT_DIR!r}, which cannot be written: {error.strerror}") from None
    if rank.device.type == "cuda":
        torch.cuda.set_device(rank.device)
    with rank.stop.on_signals():
        if rank.world_size == 1:
            fn(cfg, rank)
        else:
            _run_in_group(fn, cfg, rank, init_method, rendezvous_seconds)


def _run_in_group(fn: Main, cfg: CfgNode, rank: RankInfo, init_method: str, rendezvous_seconds: float) -> None:
    """Run one of several processes in a process group."""
    try:
        store = join_group(cfg, rank, init_method, rendezvous_seconds)
    except Stopped as stopped:
        if rank.rank == 0:
            record_stop(cfg.OUTPUT_DIR, stopped, progress=False)
        raise
    try:
        with rank.stop.shared_in(store):
            check_config(cfg)
            check_folder(cfg.OUTPUT_DIR)
            fn(cfg, rank)
        # after an error the group is left open: closing it could wait for the others
        leave_group()
    except USER_ERRORS:
        raise
    except Exception as error:
        reason = lost_process(error)
        if reason is None:
            raise
        raise RunError(f"process {rank.rank} of {rank.world_size}: {reason}") from error


def _spawn(fn: Main, cfg: CfgNode, ranks: list[RankInfo], init_method: str, rendezvous_seconds: float) -> None:
    """Spawn the processes of this machine; the first failure ends them all and is raised here."""
    failures = mp.get_context("spawn").SimpleQueue()
    try:
        arguments = (fn, cfg, ranks, init_method, rendezvous_seconds, failures)
        context = mp.spawn(_spawned, arguments, nprocs=len(ranks), join=False)
        with pass_signals_to(context.pids()):
            while not context.join():
                pass
    except (mp.ProcessRaisedException, mp.ProcessExitedException) as error:
        if failures.empty():
            raise RunError(f"process {error.error_index} of this machine is lost: {error}. {HOW_TO_RESUME}") from None
        kind, message = failures.get()
        raise kind(message) from None


def _spawned(
    local_rank: int,
    fn: Main,
    cfg: CfgNode,
    ranks: list[RankInfo],
    init_method: str,
    rendezvous_seconds: float,
    failures: mp.SimpleQueue,
) -> None:
    rank = ranks[local_rank]
    try:
        _run(fn, cfg, rank, init_method, rendezvous_seconds)
    except USER_ERRORS as error:  # reported before this process ends and the others fail for it
        failures.put((type(error), str(error)))
        raise
    except Exception:
        failures.put((RuntimeError, f"process {rank.rank} of {rank.world_size} failed:\n{traceback.format_exc()}"))
        raise
