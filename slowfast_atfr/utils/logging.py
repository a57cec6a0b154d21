"""Logs as PySlowFast writes them: the same line format, `stdout.log`, and metrics as `json_stats: {...}` lines."""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import simplejson
from tqdm import tqdm

PACKAGE = __name__.partition(".")[0]
DATE_FORMAT = "%m/%d %H:%M:%S"
SIGNIFICANT_DIGITS = 6
ESCAPED = "backslashreplace"  # for characters that an encoding lacks, such as bytes of odd file names

logger = logging.getLogger(__name__)


def setup_logging(output_dir: str | None, rank: int = 0) -> None:
    """Send this package's logs to stdout and, on the main process, to `stdout.log` in the output folder.

    A second call replaces the handlers of the first. Other processes log warnings and errors only, with their rank.

    Args:
        output_dir: made if missing; None: no file.
        rank: of this process; 0 is the main one.
    Raises:
        OSError: if the folder or the file cannot be written.
    """
    root = logging.getLogger(PACKAGE)
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [_Console()]
    if output_dir is not None and rank == 0:
        os.makedirs(output_dir, exist_ok=True)
        handlers.append(logging.FileHandler(os.path.join(output_dir, "stdout.log"), encoding="utf-8", errors=ESCAPED))
    who = "" if rank == 0 else f"[rank {rank}]"
    line = f"[%(asctime)s][%(levelname)s]{who} %(filename)s: %(lineno)4d: %(message)s"
    for handler in handlers:
        handler.setFormatter(logging.Formatter(line, datefmt=DATE_FORMAT))
        root.addHandler(handler)
    root.setLevel(logging.INFO if rank == 0 else logging.WARNING)


def log_json_stats(stats: Mapping[str, Any]) -> None:
    """Log one line `json_stats: {...}`, keys sorted, floats with six significant digits.

    Tensors and numpy numbers of one element become plain numbers; nan and inf, which JSON lacks, become the strings
    "nan", "inf", "-inf".
    """
    plain = {key: _plain(value) for key, value in stats.items()}
    logger.info("json_stats: %s", simplejson.dumps(plain, sort_keys=True, allow_nan=False))


def last_stats(log: Path, kind: str) -> dict[str, Any]:
    """Return the last json_stats line of a type in a log.

    Raises:
        ValueError: if there is none.
    """
    lines = [line.partition("json_stats: ")[2] for line in log.read_text(encoding="utf-8").splitlines()]
    stats = [entry for entry in map(json.loads, filter(None, lines)) if entry["_type"] == kind]
    if not stats:
        raise ValueError(f"{log} has no json_stats line of type {kind}")
    return stats[-1]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, float):
        return value
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else str(value)


def printable(text: str, stream: TextIO) -> str:
    """Escape the characters that a stream's encoding lacks; file names may not be UTF-8."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, ESCAPED).decode(encoding)


def say(text: str, end: str = "\n") -> None:
    """Print text that may contain file names."""
    print(printable(text, sys.stdout), end=end)


@contextmanager
def console_shows(show: Callable[[logging.LogRecord], str | None]) -> Iterator[None]:
    """Within the block, print show(record) for each log record on stdout, nothing where it is None.

    Log files do not change. Call it after setup_logging.
    """
    consoles = [handler for handler in logging.getLogger(PACKAGE).handlers if isinstance(handler, _Console)]
    for console in consoles:
        console.show = show
    try:
        yield
    finally:
        for console in consoles:
            console.show = console.format


class _Console(logging.Handler):
    """Writes to the current sys.stdout, above a progress bar if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.show: Callable[[logging.LogRecord], str | None] = self.format

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.show(record)
            if text is None:
                return
            tqdm.write(printable(text, sys.stdout), file=sys.stdout)
            sys.stdout.flush()
        except Exception:  # as in the standard handlers: a log line never ends a run
            self.handleError(record)
