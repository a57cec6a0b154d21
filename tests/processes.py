"""Run a function of a test in several gloo processes; an assertion that fails in one of them fails the test."""

import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slowfast_atfr.engine.launch import leave_group


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def hear_ctrl_c() -> None:
    """What a process that a test will interrupt does first: where the suite runs under nohup it would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_in_processes(fn: Callable[..., None], folder: Path, *args: Any, world: int = 2) -> None:
    """`fn(rank, *args)` in every process of a group; fn is at the top level of its module."""
    mp.spawn(_enter, (fn, str(folder / "store"), world, args), nprocs=world)


def _enter(rank: int, fn: Callable[..., None], store: str, world: int, args: tuple) -> None:
    torch.set_num_threads(1)
    where = {"init_method": f"file://{store}", "rank": rank, "world_size": world}
    dist.init_process_group("gloo", **where, timeout=timedelta(seconds=30))
    fn(rank, *args)
    leave_group()
