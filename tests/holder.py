"""A process that holds the lock of an output folder until a file says go: holder.py FOLDER SIGN GO."""

import os
import signal
import sys
import time
from pathlib import Path

from slowfast_atfr.utils.lock import OutputLock
from tests.processes import Program


class Holder:
    """Runs this file, and waits until it holds the lock.

    Args:
        folder: whose lock is held.
        signs: a folder for the two files.
    """

    def __init__(self, folder: Path, signs: Path) -> None:
        self._sign, self._go = signs / "held", signs / "go"
        self.program = Program(__file__, str(folder), str(self._sign), str(self._go), cwd=signs)
        self.pid = self.program.pid
        while not self._sign.exists():
            assert self.program.returncode is None
            time.sleep(0.01)

    def end(self) -> None:
        """Let it end by itself."""
        self._go.touch()
        self.program.communicate(timeout=30)

    def clear(self) -> None:
        """Kill what is left of it, its child too."""
        os.killpg(self.pid, signal.SIGKILL)


if __name__ == "__main__":
    folder, sign, go = sys.argv[1:]
    with OutputLock(folder):
        if os.fork() == 0:  # as a data worker, which outlives its parent for a moment
            time.sleep(20)
            os._exit(0)
        Path(sign).touch()
        while not os.path.exists(go):
            time.sleep(0.01)
