"""One run at a time in an output folder."""

import errno
import logging
import os
import socket
from types import TracebackType

from slowfast_atfr.utils.distributed import on_main
from slowfast_atfr.utils.errors import RunError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None

logger = logging.getLogger(__name__)
NAME = ".lock"


class OutputLock:
    """A lock on a folder within a `with` block, against processes of this and other machines.

    The main process holds an operating system lock on a file in the folder, which ends with the process; data workers
    do not inherit it. Where the file system has no locks, a warning is logged.

    Args:
        folder: OUTPUT_DIR; made if missing.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._file = folder, -1  # file descriptor; -1: no lock

    def __enter__(self) -> None:
        """A collective. Raises RunError on every process if another run holds the folder."""
        on_main(self._acquire)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._file >= 0:
            os.close(self._file)  # releases the lock
            self._file = -1

    def _acquire(self) -> None:
        if fcntl is None:
            return
        os.makedirs(self._folder, exist_ok=True)
        file = os.open(os.path.join(self._folder, NAME), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(file, 1000).decode(errors="replace").strip()
            os.close(file)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                logger.warning("%s cannot be locked against a second run: %s", self._folder, error.strerror)
                return
            raise RunError(
                f"OUTPUT_DIR {self._folder!r} is in use by another run ({holder or 'unknown'}). Wait for it to end, or "
                "choose another OUTPUT_DIR. To test its checkpoints meanwhile, set TEST.CHECKPOINT_FILE_PATH to this "
                "folder, TRAIN.ENABLE False and another OUTPUT_DIR"
            ) from None
        os.truncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._file = file
