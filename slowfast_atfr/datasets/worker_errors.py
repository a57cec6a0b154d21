"""What goes wrong in data loading processes, told in the process that waits for them."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from slowfast_atfr.config import ConfigError
from slowfast_atfr.utils.errors import RunError

SHARED_MEMORY = "/dev/shm"  # through which workers hand on what they have read


def told_plainly(batches: DataLoader) -> Iterator[Any]:
    """What a loader yields; errors of its workers without their tracebacks.

    Raises:
        ConfigError: of a worker, with its own message.
        RunError: where a worker has ended or shared memory is used up; says what to do.
    """
    try:
        yield from batches
    except ConfigError as error:
        raise ConfigError(str(error).rpartition(f"{ConfigError.__name__}: ")[2].strip()) from None
    except RuntimeError as error:
        last_line = (str(error).strip().splitlines() or [""])[-1].removeprefix("RuntimeError: ")
        if "DataLoader worker (pid" in last_line or "shared memory" in last_line:
            raise RunError(_what_to_do(last_line, batches.num_workers)) from None
        raise


def _what_to_do(reason: str, workers: int) -> str:
    free = ""
    if os.path.isdir(SHARED_MEMORY):
        usage = shutil.disk_usage(SHARED_MEMORY)
        free = f", of which {usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB are free now"
    return (
        f"a data loading process failed: {reason}. Mostly memory has run out: the machine's (then dmesg says Out of "
        f"memory), or that in {SHARED_MEMORY}{free} (then a bus error is told above; in a container see --shm-size). "
        f"Lower DATA_LOADER.NUM_WORKERS, which gives this process {workers}, or TRAIN.BATCH_SIZE"
    )
