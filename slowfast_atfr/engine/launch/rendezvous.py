"""The process group of a run: how its processes meet, how they part, and what is said when one of them is lost."""

import gc
import json
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import torch.distributed as dist
import torch.distributed.nn.functional  # noqa: F401  before there is a group: see leave_group
from fvcore.common.config import CfgNode
from torch.distributed.distributed_c10d import _set_pg_timeout

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.launch.launchers import advice_for
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.stop import Stopped

GRACE = 3.0  # seconds beyond the limit after which a process that is still connecting is ended
FOR_NAMES = 10.0  # seconds that a name may take to be known
LINGER = 3.0  # seconds that the first process, which keeps the store, gives the others to read why it ends
MAX_NAMED = 10
GO_ON = (
    "Start all processes again by the same command: the run goes on from the newest checkpoint in OUTPUT_DIR "
    "(TRAIN.CHECKPOINT_ITERATIONS writes some within epochs, too)"
)
LOST = re.compile(r"gloo/|nccl|connection (closed|reset|refused)|broken pipe", re.I)


class _NotMet(RuntimeError):
    """The time is up."""


def join_group(cfg: CfgNode, rank: RankInfo, init_method: str, seconds: float) -> dist.Store:
    """Make the process group of a run of several processes. A collective.

    Args:
        cfg: of the run.
        rank: of this process.
        init_method: tcp://HOST:PORT of the first process; env:// is what torchrun's variables say.
        seconds: that processes wait for each other.
    Returns:
        a store of key-value pairs that all processes of this launch share.
    Raises:
        ConfigError: if they do not find each other, or were not started as one run.
    """
    on_gpu = rank.device.type == "cuda"
    backend = cfg.DIST_BACKEND if on_gpu else "gloo"
    if backend == "nccl" and not dist.is_nccl_available():
        raise ConfigError("DIST_BACKEND is 'nccl', and this PyTorch comes without NCCL; choose gloo")
    deadline, later = time.monotonic() + seconds, timedelta(minutes=cfg.DIST_TIMEOUT)
    try:
        with _ended_at(deadline + GRACE, lambda: _not_met(cfg, rank, init_method, seconds, "they do not connect")):
            _wait_for_listener(cfg, rank, init_method, deadline)
            store, launch = _meet(rank, init_method, deadline)
            store = dist.PrefixStore(f"launch/{launch}", store)
            dist.init_process_group(
                backend,
                store=store,
                rank=rank.rank,
                world_size=rank.world_size,
                timeout=later if on_gpu else timedelta(seconds=max(1.0, deadline - time.monotonic())),
                device_id=rank.device if on_gpu else None,
            )
        if not on_gpu:  # gloo connects all pairs at once, and would wait for DIST_TIMEOUT where it cannot
            _set_pg_timeout(later)
        return store
    except (ConfigError, Stopped):
        raise
    except (RuntimeError, ValueError) as error:
        raise ConfigError(_not_met(cfg, rank, init_method, seconds, str(error))) from None


def leave_group() -> None:
    """End the process group and its threads. A collective.

    gloo's threads end with the last reference to their group. One that outlives the interpreter, a tensor of the last
    collective still in its hands, aborts the process ("terminate called without an active exception"). References are
    held by networks under DDP, and, for good, by default arguments of torch.distributed.nn.functional where that is
    first imported (DDP does) while there is a group: hence its import above.
    """
    dist.barrier()  # the first process keeps the store that all need to the end
    gc.collect()
    dist.destroy_process_group()


def lost_process(error: Exception) -> str | None:
    """What to say of an error in the middle of a run if it is that another process no longer answers, else None."""
    text = str(error).strip() or type(error).__name__
    if not isinstance(error, dist.DistError) and not (isinstance(error, RuntimeError) and LOST.search(text)):
        return None
    return (
        f"another process of this run no longer answers ({text.splitlines()[0][:200]}). It has failed, which its own "
        "output tells, or was killed, mostly for want of memory, or its machine is gone; or it took longer than "
        f"DIST_TIMEOUT. {GO_ON}"
    )


def _not_met(cfg: CfgNode, rank: RankInfo, init_method: str, seconds: float, reason: str) -> str:
    reason, advice = reason.strip().splitlines()[0][:300], advice_for(cfg, init_method)
    if re.search(r"EADDRINUSE|already in use", reason):
        return (
            f"process {rank.rank} of {rank.world_size} cannot listen at {init_method}, for the port is in use: by "
            "another run, by what an earlier one has left running, or by a second process started as "
            f"{advice.twin}. Choose another {advice.port}, the same everywhere"
        )
    return (
        f"process {rank.rank} of {rank.world_size} did not find the others at {init_method} within {seconds:.0f} s "
        f"({reason}). Check that {advice.check}; that the {advice.port} is free and no firewall closes it or the ports "
        "that processes choose among themselves; and that GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME names the network "
        "interface between the machines, where they have several. docs/multi_node.md has more"
    )


@contextmanager
def _ended_at(deadline: float, message: Callable[[], str]) -> Iterator[None]:
    """End this process with an error if the block takes longer: what connects in native code keeps to no limit."""

    def end() -> None:
        print(f"error: {message()}", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(deadline - time.monotonic(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _meet(rank: RankInfo, init_method: str, deadline: float) -> tuple[dist.Store, str]:
    """A store of key-value pairs in which all processes of this launch have met, and a name for this launch.

    A store may hold what earlier launches have left: a program launches twice (train, then test), torchrun starts
    processes again, and a process that is early may find the first launch's store, about to close. So the first process
    calls with a name that was never used before, every process answers with one of its own, and the first one lists the
    answers. Who is in the list has met the others; who is not waits for the next call.
    """
    me = {"world": rank.world_size, "who": f"{socket.gethostname()}, process {os.getpid()}", "id": uuid.uuid4().hex}
    while True:
        try:
            store = _connect(rank, init_method, deadline)
            name = _call(store, me, deadline, rank) if rank.rank == 0 else _answer(store, rank, me, deadline)
            return store, name
        except dist.DistError:
            if rank.rank == 0 or time.monotonic() + 1.0 > deadline:
                raise
            time.sleep(0.2)


def _wait_for_listener(cfg: CfgNode, rank: RankInfo, init_method: str, deadline: float) -> None:
    """Until the first process listens, or the deadline; torch's own client takes two to three times its limit.

    Raises:
        ConfigError: if the name of the first machine is none.
        Stopped: after SIGTERM or Ctrl-C.
    """
    place = urlsplit(init_method)
    host, port = place.hostname, place.port
    if init_method == "env://":
        host, port = os.environ.get("MASTER_ADDR"), int(os.environ.get("MASTER_PORT", "0"))
    unknown_since = None
    while host and port:
        _end_if_told(rank)
        try:
            if rank.rank == 0:
                socket.getaddrinfo(host, port)
                return
            with socket.create_connection((host, port), timeout=max(0.1, min(5.0, deadline - time.monotonic()))):
                return
        except socket.gaierror as error:
            unknown_since = unknown_since or time.monotonic()
            if time.monotonic() > min(deadline, unknown_since + FOR_NAMES):
                raise ConfigError(
                    f"process {rank.rank} of {rank.world_size} cannot find the machine {host!r} ({error.strerror}), at "
                    f"which all are to meet. {advice_for(cfg, init_method).name}"
                ) from None
        except OSError as error:
            if time.monotonic() + 1.0 > deadline:
                raise _NotMet(f"nobody listens at {host}:{port}: {error.strerror or error}") from None
        time.sleep(0.5)


def _end_if_told(rank: RankInfo) -> None:
    if rank.stop.here:
        raise rank.stop.stopped("before its processes had met", "nothing was done yet")


def _connect(rank: RankInfo, init_method: str, deadline: float) -> dist.Store:
    left = timedelta(seconds=max(0.1, deadline - time.monotonic()))
    place = urlsplit(init_method)
    if place.scheme != "tcp" or place.hostname is None or place.port is None:  # torchrun's, or an error that says so
        return next(dist.rendezvous(init_method, rank.rank, rank.world_size, timeout=left))[0]
    return dist.TCPStore(
        place.hostname, place.port, is_master=rank.rank == 0, timeout=left, wait_for_workers=False, multi_tenant=True
    )


def _call(store: dist.Store, me: dict, deadline: float, place: RankInfo) -> str:
    """The first process: call, wait for all answers, list them; the name of the call."""
    name, others = me["id"], range(1, me["world"])
    store.set("call", json.dumps(me))
    answers = [f"{name}/answer/{other}" for other in others]
    while not _wait(store, answers, deadline):
        _end_if_told(place)
        if store.check([f"{name}/dispute"]):
            problem = store.get(f"{name}/dispute").decode()
            store.set(f"{name}/list", json.dumps({"problem": problem}))
            time.sleep(LINGER)
            raise ConfigError(problem)
        if time.monotonic() > deadline:
            missing = [other for other in others if not store.check([f"{name}/answer/{other}"])]
            more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
            raise _NotMet(f"no answer from process {', '.join(map(str, missing[:MAX_NAMED]))}{more}")
    store.set(f"{name}/list", json.dumps({"met": [me, *(json.loads(store.get(answer)) for answer in answers)]}))
    return name


def _answer(store: dist.Store, place: RankInfo, me: dict, deadline: float) -> str:
    """Any other process: answer calls until this answer is in a list; the name of that call."""
    rank, call, listed, problem = place.rank, {}, {}, "the first process has not called"
    while True:
        _end_if_told(place)
        if _wait(store, ["call"], deadline):
            call = json.loads(store.get("call"))
            name = call["id"]
            if call["world"] == me["world"]:
                store.set(f"{name}/answer/{rank}", json.dumps(me))
                problem = "the first process has called, and waits for others"
            else:
                problem = (
                    f"process {rank} ({me['who']}) was started as one of {me['world']} processes, process 0 "
                    f"({call['who']}) as one of {call['world']}; NUM_SHARDS and NUM_GPUS must be the same on all "
                    "machines"
                )
                store.set(f"{name}/dispute", problem)
            if _wait(store, [f"{name}/list"], deadline):
                listed = json.loads(store.get(f"{name}/list"))
                if "problem" in listed:
                    raise ConfigError(problem if call["world"] != me["world"] else listed["problem"])
                if rank < call["world"] and listed["met"][rank]["id"] == me["id"]:
                    return name
                time.sleep(0.1)  # an earlier launch's list, or one with another process in this one's place
        if time.monotonic() > deadline:
            if rank < len(listed.get("met", ())):
                first = listed["met"][rank]["who"]
                raise ConfigError(
                    f"this is process {rank} ({me['who']}), and the run has that already: {first}. Give every machine "
                    "its own --shard_id"
                )
            raise _NotMet(problem)


def _wait(store: dist.Store, keys: list[str], deadline: float) -> bool:
    """Whether all keys are there, after a second at most. It looks again and again, for store.wait logs its end."""
    until = min(deadline, time.monotonic() + 1.0)
    while not store.check(keys):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
