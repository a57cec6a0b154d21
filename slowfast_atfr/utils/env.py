"""The random states of a process and its memory."""

import ctypes
import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # 1: torch asks Linux for huge pages


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed python, numpy and torch (all devices); each rank differently."""
    mixed = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
    random.seed(mixed)
    np.random.seed(mixed)
    torch.manual_seed(mixed)


def get_rng_state() -> dict[str, Any]:
    """The random states of this process, in types that `torch.load(weights_only=True)` accepts."""
    kind, keys, *rest = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (str(kind), [int(key) for key in keys], *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()  # of the current device: one process, one device
    return state


def set_rng_state(state: dict[str, Any]) -> None:
    """Restore what `get_rng_state` returned; a GPU's state only where there is a GPU."""
    kind, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


def gpu_memory() -> str:
    """The most GPU memory that this process has held, such as "3.20G"."""
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return f"{peak / 1024**3:.2f}G"


def return_freed_memory() -> None:
    """Return large blocks to the system as soon as this process frees them.

    By default the C library keeps up to 64 MiB of freed memory in every data loading process. glibc only.
    """
    # larger blocks are mapped one by one; setting the threshold also stops glibc from raising it
    _mallopt({_M_MMAP_THRESHOLD: 2**20, _M_TRIM_THRESHOLD: 2**20, _M_MMAP_MAX: 2**16})


def keep_freed_memory() -> None:
    """Keep what this process frees, so that a network's next activations on a CPU find their pages mapped.

    By default the C library returns every large block to the kernel, which clears it, page by page, when it is
    allocated again: a third of the time of a small network's forward pass. The process stays as large as its peak.
    For command lines, which own their process. glibc only. It also has torch ask Linux for huge pages, if it is called
    before torch's first allocation: X3D-S infers 5 to 10 % faster on them.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
    _mallopt({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1})


def _mallopt(options: Mapping[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)


def private_memory(pid: int) -> int:
    """Bytes of memory that a process does not share with others, from Linux's /proc."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        resident, shared = map(int, file.read().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def host_memory() -> str:
    """Used and total memory of this machine, such as "12.00/64.00G"; "unknown" where there is no /proc/meminfo."""
    if not os.path.exists("/proc/meminfo"):
        return "unknown"
    with open("/proc/meminfo", encoding="ascii") as file:
        kib = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in file)}
    return f"{(kib['MemTotal'] - kib['MemAvailable']) / 1024**2:.2f}/{kib['MemTotal'] / 1024**2:.2f}G"
