"""Errors of data workers, raised readably in the main process."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from slowfast_atfr.config import ConfigError
from slowfast_atfr.utils.errors import RunError

SHARED_MEMORY = "/dev/shm"  # for the data of workers


def with_plain_errors(batches: DataLoader) -> Iterator[Any]:
    """Yield a loader's batches; raise errors of its workers without their tracebacks.

    Raises:
        ConfigError: of a worker, with its own message.
        RunError: if a worker has died or shared memory is full, with a remedy.
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
        free = f" ({usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB are free now)"
    return (
        f"a data worker failed: {reason}. Usually memory ran out: the machine's (then dmesg has 'Out of "
        f"memory') or shared memory in {SHARED_MEMORY}{free}; then a bus error is logged above, and in a container "
        f"--shm-size raises it. Lower DATA_LOADER.NUM_WORKERS ({workers} in this process) or TRAIN.BATCH_SIZE"
    )
