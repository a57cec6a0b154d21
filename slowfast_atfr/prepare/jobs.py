"""Run a function on many videos in parallel, with a progress bar; bad videos do not stop the others."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, connection, parent_process
from typing import TypeVar

import cv2
from tqdm import tqdm

from slowfast_atfr.datasets.decoder import DecodeError
from slowfast_atfr.utils.errors import RunError

Job = TypeVar("Job")
DIED = "the process that read it died: the decoder crashed, or memory ran out"


def run_jobs(
    function: Callable[[Job], None], jobs: Sequence[Job], *, workers: int, title: str, done: int = 0
) -> dict[Job, str]:
    """Run all jobs; one that fails does not stop the others.

    Args:
        function: at the top level of its module. It raises DecodeError for a bad video, OSError if nothing more can be
            written.
        jobs: hashable, picklable.
        workers: processes.
        title: of the progress bar, which starts at `done` jobs.
    Returns:
        the reason of each job that failed.
    Raises:
        RunError: if nothing more can be written.
    """
    failed: dict[Job, str] = {}
    waiting = deque(jobs)
    pause = 0.1 if sys.stderr.isatty() else 60.0  # a log gets a line a minute
    with tqdm(total=done + len(jobs), initial=done, desc=title, unit="video", mininterval=pause) as bar:

        def finish(job: Job, reason: str | None) -> None:
            if reason is not None:
                failed[job] = reason
            bar.update()

        while waiting:
            for suspect in _run_pool(function, waiting, workers, finish):  # one of these killed its process
                if _run_pool(function, deque([suspect]), 1, finish):
                    finish(suspect, DIED)
    return failed


def _run_pool(
    function: Callable[[Job], None], waiting: deque[Job], workers: int, finish: Callable[[Job, str | None], None]
) -> list[Job]:
    """Work until nothing waits, or return the running jobs when a process dies."""
    others, running = set(active_children()), {}
    with ProcessPoolExecutor(min(workers, len(waiting)), initializer=_start_worker) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    running[pool.submit(_attempt, function, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    reason = _reason(future)
                    finish(running.pop(future), reason)
        except BrokenProcessPool:
            return list(running.values())
        except BaseException:  # running jobs are dropped
            pool.shutdown(wait=False, cancel_futures=True)
            for child in set(active_children()) - others:
                child.terminate()
            raise
    return []


def _reason(future: Future) -> str | None:
    try:
        return future.result()
    except OSError as error:
        place = f" to {error.filename}" if error.filename else ""
        raise RunError(
            f"cannot write{place}: {error.strerror or error}. Finished files are kept: fix this, and start the same "
            "command again to continue"
        ) from None


def _attempt(function: Callable[[Job], None], job: Job) -> str | None:
    """Run a job in a worker, and return why it fails."""
    try:
        function(job)
        return None
    except DecodeError as error:
        return error.reason
    except OSError:
        raise
    except Exception as error:  # a bad video does not stop the others
        return f"{type(error).__name__}: {error}"


def _start_worker() -> None:
    """Leave Ctrl-C to the parent; end with the parent, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    parent = parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
