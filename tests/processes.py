"""Run a function of a test in several gloo processes; an assertion that fails in one of them fails the test.

They are forked off a process that has imported all and done nothing else, one for all tests, so each is there at once.
"""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from slowfast_atfr.engine.launch.processes import leave_group

IMPORTED = ["pytest", "torch._dynamo", "torch.distributed.run", "slowfast_atfr.engine.cli", __name__]
multiprocessing.set_forkserver_preload(IMPORTED)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def hear_ctrl_c() -> None:
    """What a process that a test will interrupt does first: where the suite runs under nohup it would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_processes(fn: Callable[..., None], *args: Any, world: int = 2, join: bool = True) -> Any:
    """Run `fn(rank, *args)` in `world` processes, as torch.multiprocessing.spawn does; all is imported already.

    They have the environment, standard output and signals that this process had when it first called this.
    """
    return mp.start_processes(fn, args, nprocs=world, join=join, start_method="forkserver")


def run_in_processes(fn: Callable[..., None], folder: Path, *args: Any, world: int = 2) -> None:
    """`fn(rank, *args)` in every process of a group; fn is at the top level of its module."""
    start_processes(_enter, fn, str(folder / "store"), world, args, world=world)


class Program:
    """A Python program that runs in a process of its own, as subprocess.Popen has it, though with these imports.

    It is the leader of its process group. What it writes is read when it has ended.
    """

    def __init__(self, script: str | Path, *argv: str, cwd: str | Path, env: Mapping[str, str] | None = None) -> None:
        self._texts = [tempfile.NamedTemporaryFile("r", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
        places = [text.name for text in self._texts]
        arguments = ([str(script), *argv], str(cwd), dict(os.environ if env is None else env), places)
        self._process = multiprocessing.get_context("forkserver").Process(target=_run_program, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process where it still runs."""
        self._process.kill()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Standard output and standard error, when the process has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            self.send_signal(signal.SIGUSR1)  # it writes where its threads are
            self._process.join(2)
            self.kill()
            raise subprocess.TimeoutExpired(self.pid, timeout, *(text.read() for text in self._texts))
        return tuple(text.read() for text in self._texts)


def _run_program(argv: list[str], cwd: str, env: dict[str, str], places: list[str]) -> None:
    os.setsid()
    for number, place in enumerate(places, 1):
        with open(place, "w") as file:
            os.dup2(file.fileno(), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    torch.set_num_threads(1)
    multiprocessing.set_start_method(None, force=True)  # data workers start as in a program of its own
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")


def _enter(rank: int, fn: Callable[..., None], store: str, world: int, args: tuple) -> None:
    torch.set_num_threads(1)
    where = {"init_method": f"file://{store}", "rank": rank, "world_size": world}
    dist.init_process_group("gloo", **where, timeout=timedelta(seconds=30))
    fn(rank, *args)
    leave_group()
