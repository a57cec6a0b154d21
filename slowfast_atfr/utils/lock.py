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
    """A lock on a folder while a `with` block runs: other processes, of other machines too, cannot take it.

    The main process holds it, by a lock of the operating system on a file in the folder, which ends with the process
    however it ends; data workers do not inherit it. Where the file system has no locks, a warning says so.

    Args:
        folder: OUTPUT_DIR; made if missing.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._file = folder, -1  # a file descriptor, -1 without a lock

    def __enter__(self) -> None:
        """A collective. Raises RunError on every process if another run holds the folder."""
        on_main(self._take)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._file >= 0:
            os.close(self._file)  # and with it the lock
            self._file = -1

    def _take(self) -> None:
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
                f"OUTPUT_DIR {self._folder!r} belongs to a run that is still going on ({holder or 'unknown'}). Wait "
                "for it to end, or choose another OUTPUT_DIR. To test its checkpoints meanwhile, give it as "
                "TEST.CHECKPOINT_FILE_PATH, with TRAIN.ENABLE False and another OUTPUT_DIR"
            ) from None
        os.truncate(file, 0)
        os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        self._file = file
