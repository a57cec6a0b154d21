"""Interruptions without progress: after two in a row a run fails, so that no scheduler restarts it forever."""

import os
from contextlib import suppress

from slowfast_atfr.utils.distributed import on_main
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole
from slowfast_atfr.utils.stop import Stopped

NAME = ".stopped_without_progress"


def record_stop(folder: str, stopped: Stopped, *, progress: bool) -> None:
    """Record that a run was interrupted; a collective.

    Args:
        folder: OUTPUT_DIR, where the next start finds the record.
        stopped: the error that ends the run.
        progress: whether this start has saved work that the next one need not repeat.
    Raises:
        RunError: at the second interruption in a row without progress; the count then restarts.
    """
    on_main(lambda: _note_stop(os.path.join(folder, NAME), stopped, progress))


def _note_stop(path: str, stopped: Stopped, progress: bool) -> None:
    again = os.path.exists(path)
    if again:
        with suppress(OSError):
            os.remove(path)
    if progress:
        return
    if again:
        raise RunError(
            f"{stopped}. But this start and the previous one were interrupted before they had saved any work, so "
            "another start would not help: give the run more time. Under Slurm --time must be longer than the lead of "
            "--signal plus the start-up and one unit of work: an iteration, a validation, or the views of a video"
        )
    write_whole(path, "")
