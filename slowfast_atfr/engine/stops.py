"""Runs that are told to end again and again: a run that makes no progress in between is not to be started for ever."""

import os
from contextlib import suppress

from slowfast_atfr.utils.distributed import on_main
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole
from slowfast_atfr.utils.stop import Stopped

NAME = ".stopped_without_progress"


def note_stop(folder: str, stopped: Stopped, *, progress: bool) -> None:
    """Take note that a run was told to end; a collective.

    Args:
        folder: OUTPUT_DIR, which keeps the note for the next start.
        stopped: how it ended.
        progress: whether it has done something since it was started that the next start need not do again.
    Raises:
        RunError: at the second stop in a row without progress; a third start begins to count anew.
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
            f"{stopped} But this start and the one before it were told to end before they had done anything that could "
            "be kept, so another start is no use: give the run more time. Under Slurm --time must be longer than the "
            "lead of --signal and what is done at once: a start and an iteration, a validation, or the views of a video"
        )
    write_whole(path, "")
