"""The process group of a run: connecting its processes, closing it, and errors about lost processes."""

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
from functools import partial
from urllib.parse import urlsplit

import torch.distributed as dist
import torch.distributed.nn.functional  # noqa: F401  before there is a group: see leave_group
from fvcore.common.config import CfgNode
from torch.distributed.distributed_c10d import _set_pg_timeout

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.launch.launchers import advice_for
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.stop import Stopped

GRACE = 3.0  # seconds after the time-out at which a process that still connects is ended
FOR_NAMES = 10.0  # seconds in which a host name must resolve
LINGER = 3.0  # seconds in which the others may read the first process's error from its store
MAX_NAMED = 10
HOW_TO_RESUME = (
    "Start all processes again by the same command: the run resumes from the newest checkpoint in OUTPUT_DIR "
    "(TRAIN.CHECKPOINT_ITERATIONS writes some within epochs, too)"
)
LOST = re.compile(r"gloo/|nccl|connection (closed|reset|refused)|broken pipe", re.I)


class _NotConnected(RuntimeError):
    """The processes did not connect in time."""


def join_group(cfg: CfgNode, rank: RankInfo, init_method: str, seconds: float) -> dist.Store:
    """Create the process group of a run of several processes. A collective.

    Args:
        cfg: of the run.
        rank: of this process.
        init_method: tcp://HOST:PORT of the first process, or env:// for torchrun's variables.
        seconds: time-out.
    Returns:
        a key-value store that all processes of this launch share.
    Raises:
        ConfigError: if they do not connect, or were not started as one run.
    """
    on_gpu = rank.device.type == "cuda"
    backend = cfg.DIST_BACKEND if on_gpu else "gloo"
    if backend == "nccl" and not dist.is_nccl_available():
        raise ConfigError("DIST_BACKEND is 'nccl', and this PyTorch comes without NCCL; choose gloo")
    deadline, later = time.monotonic() + seconds, timedelta(minutes=cfg.DIST_TIMEOUT)
    message = partial(_not_connected, cfg, rank, init_method, seconds)
    try:
        with _ended_at(
            deadline + GRACE, lambda: _not_connected(cfg, rank, init_method, seconds, "they do not connect")
        ):
            _wait_for_listener(cfg, rank, init_method, deadline)
            store, launch = _agree_on_store(rank, init_method, deadline)
            store = dist.PrefixStore(f"launch/{launch}", store)
            dist.init_process_group(
                backend,
                store=store,
                rank=rank.rank,
                world_size=rank.world_size,
                timeout=later if on_gpu else timedelta(seconds=max(1.0, deadline - time.monotonic())),
                device_id=rank.device if on_gpu else None,
            )
        if not on_gpu:  # gloo connects all pairs while it is created, with the group's time-out
            _set_pg_timeout(later)
        return store
    except (ConfigError, Stopped):
        raise
    except (RuntimeError, ValueError) as error:
        raise ConfigError(message(str(error))) from None


def leave_group() -> None:
    """Close the process group and end its threads. A collective.

    gloo's threads end with the last reference to their group. A thread that outlives the interpreter while it holds a
    tensor aborts the process ("terminate called without an active exception"). References are held by networks within
    DDP, and forever by default arguments of torch.distributed.nn.functional if that is first imported (by DDP) while a
    group exists: hence the import above.
    """
    dist.barrier()  # the first process owns the store, so it leaves last
    gc.collect()
    dist.destroy_process_group()


def lost_process(error: Exception) -> str | None:
    """Return a message if an error means that another process no longer answers, else None."""
    text = str(error).strip() or type(error).__name__
    if not isinstance(error, dist.DistError) and not (isinstance(error, RuntimeError) and LOST.search(text)):
        return None
    return (
        f"another process of this run no longer answers ({text.splitlines()[0][:200]}). It has failed (see its own "
        "output), was killed, usually because memory ran out, has lost its machine, or took longer than DIST_TIMEOUT. "
        f"{HOW_TO_RESUME}"
    )


def _not_connected(cfg: CfgNode, rank: RankInfo, init_method: str, seconds: float, reason: str) -> str:
    reason, advice = reason.strip().splitlines()[0][:300], advice_for(cfg, init_method)
    if re.search(r"EADDRINUSE|already in use", reason):
        return (
            f"process {rank.rank} of {rank.world_size} cannot listen at {init_method}, because the port is in use: by "
            "another run, by a process left from an earlier one, or by a second process started as "
            f"{advice.twin}. Choose another {advice.port}, the same everywhere"
        )
    return (
        f"process {rank.rank} of {rank.world_size} did not find the others at {init_method} within {seconds:.0f} s "
        f"({reason}). Check that {advice.check}; that the {advice.port} is free and no firewall closes it or the ports "
        "that processes choose among themselves; and that GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME names the network "
        "interface between the machines, if they have several. See docs/multi_node.md"
    )


@contextmanager
def _ended_at(deadline: float, message: Callable[[], str]) -> Iterator[None]:
    """End this process with an error if the block takes longer: native code ignores Python's time-outs."""

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


def _agree_on_store(rank: RankInfo, init_method: str, deadline: float) -> tuple[dist.Store, str]:
    """Return a key-value store to which all processes of this launch are connected, and a unique name for the launch.

    A store may hold keys of earlier launches: a program launches twice (train, then test), torchrun restarts processes,
    and an early process may find the store of the previous launch, about to close. So the first process calls with a
    new unique name, every process answers with an id, and the first one publishes the list of answers. A process that
    is in the list is connected; one that is not waits for the next call.
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
    """Wait until the first process listens; torch's own client takes two to three times its time-out.

    Raises:
        ConfigError: if the name of the first machine does not resolve.
        Stopped: after SIGTERM or Ctrl-C.
    """
    place = urlsplit(init_method)
    host, port = place.hostname, place.port
    if init_method == "env://":
        host, port = os.environ.get("MASTER_ADDR"), int(os.environ.get("MASTER_PORT", "0"))
    unknown_since = None
    while host and port:
        _raise_if_interrupted(rank)
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
                    f"process {rank.rank} of {rank.world_size} cannot find the machine {host!r} ({error.strerror}), to "
                    f"which all processes connect. {advice_for(cfg, init_method).name}"
                ) from None
        except OSError as error:
            if time.monotonic() + 1.0 > deadline:
                raise _NotConnected(f"nobody listens at {host}:{port}: {error.strerror or error}") from None
        time.sleep(0.5)


def _raise_if_interrupted(rank: RankInfo) -> None:
    if rank.stop.requested:
        raise rank.stop.stopped("before its processes were connected", "nothing was done yet")


def _connect(rank: RankInfo, init_method: str, deadline: float) -> dist.Store:
    left = timedelta(seconds=max(0.1, deadline - time.monotonic()))
    place = urlsplit(init_method)
    if place.scheme != "tcp" or place.hostname is None or place.port is None:  # torchrun's, or invalid
        return next(dist.rendezvous(init_method, rank.rank, rank.world_size, timeout=left))[0]
    return dist.TCPStore(
        place.hostname, place.port, is_master=rank.rank == 0, timeout=left, wait_for_workers=False, multi_tenant=True
    )


def _call(store: dist.Store, me: dict, deadline: float, place: RankInfo) -> str:
    """In the first process: call, wait for all answers, publish their list; return the name of the call."""
    name, others = me["id"], range(1, me["world"])
    store.set("call", json.dumps(me))
    answers = [f"{name}/answer/{other}" for other in others]
    while not _wait(store, answers, deadline):
        _raise_if_interrupted(place)
        if store.check([f"{name}/dispute"]):
            problem = store.get(f"{name}/dispute").decode()
            store.set(f"{name}/list", json.dumps({"problem": problem}))
            time.sleep(LINGER)
            raise ConfigError(problem)
        if time.monotonic() > deadline:
            missing = [other for other in others if not store.check([f"{name}/answer/{other}"])]
            more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
            raise _NotConnected(f"no answer from process {', '.join(map(str, missing[:MAX_NAMED]))}{more}")
    store.set(f"{name}/list", json.dumps({"connected": [me, *(json.loads(store.get(answer)) for answer in answers)]}))
    return name


def _answer(store: dist.Store, place: RankInfo, me: dict, deadline: float) -> str:
    """In other processes: answer calls until this answer is in a list; return the name of that call."""
    rank, call, listed, problem = place.rank, {}, {}, "the first process has not called"
    while True:
        _raise_if_interrupted(place)
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
                if rank < call["world"] and listed["connected"][rank]["id"] == me["id"]:
                    return name
                time.sleep(0.1)  # the list of an earlier launch, or with another process of this rank
        if time.monotonic() > deadline:
            if rank < len(listed.get("connected", ())):
                first = listed["connected"][rank]["who"]
                raise ConfigError(
                    f"this is process {rank} ({me['who']}), and the run has such a process already: {first}. "
                    "Give every machine its own --shard_id"
                )
            raise _NotConnected(problem)


def _wait(store: dist.Store, keys: list[str], deadline: float) -> bool:
    """Return whether all keys are set, after at most a second. It polls, since store.wait logs its time-out."""
    until = min(deadline, time.monotonic() + 1.0)
    while not store.check(keys):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
