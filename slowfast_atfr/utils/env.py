"""What surrounds a process: its random states (seeded, kept, set back) and the memory in use."""

import ctypes
import os
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # torch asks Linux for them where that is 1


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed python, numpy and torch (all devices); every rank gets a state of its own."""
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
    """Go back to what `get_rng_state` returned. A GPU's state is left out where there is no GPU, and the reverse."""
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


def hand_back_freed_memory() -> None:
    """Let this process hand large blocks back as soon as it frees them.

    Left alone, the C library keeps up to 64 MiB of what was freed, now more, now less, in every data loading process.
    glibc only; other C libraries go on as they do.
    """
    # larger blocks are mapped one by one, as many as there are; to set the first also ends its growing
    _mallopt({_M_MMAP_THRESHOLD: 2**20, _M_TRIM_THRESHOLD: 2**20, _M_MMAP_MAX: 2**16})


def keep_freed_memory() -> None:
    """Let this process keep what it frees, so that the next activations of a network on a CPU find their pages ready.

    Left alone, the C library returns every large block to the kernel, which has to clear it, page by page, when it is
    asked for again: a third of the time of a small network's forward pass. The process stays as large as it once was.
    glibc only; other C libraries go on as they do. Torch is told to ask Linux for huge pages, too, which it does if
    this comes before its first block: X3D-S infers 5 to 10 % faster on them.
    """
    os.environ.setdefault(HUGE_PAGES, "1")
    _mallopt({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1})  # no block is mapped on its own, none is trimmed


def _mallopt(options: Mapping[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for option, value in options.items():
            mallopt(option, value)


def private_memory(pid: int) -> int:
    """Bytes of memory that a process has to itself, those shared with others left out; of Linux' /proc."""
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
