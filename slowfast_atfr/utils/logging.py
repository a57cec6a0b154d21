"""Logs as PySlowFast writes them: the same line format, `stdout.log`, and metrics as `json_stats: {...}` lines."""

import logging
import math
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import simplejson
from tqdm import tqdm

PACKAGE = __name__.partition(".")[0]
DATE_FORMAT = "%m/%d %H:%M:%S"
SIGNIFICANT_DIGITS = 6
ESCAPED = "backslashreplace"  # what becomes of characters that an encoding lacks, such as the bytes of odd file names

logger = logging.getLogger(__name__)


def setup_logging(output_dir: str | None, rank: int = 0) -> None:
    """Send this package's logs to stdout and, on the main process, to `stdout.log` in the output folder.

    Calling it again replaces what the call before has set up. The other processes say warnings and errors only, with
    their rank.

    Args:
        output_dir: made if missing; None writes no file.
        rank: of this process, 0 is the main one.
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

    Tensors and numpy numbers of one element become plain numbers. JSON has no nan and inf: they are the strings "nan",
    "inf", "-inf", which Python's float() reads.
    """
    plain = {key: _plain(value) for key, value in stats.items()}
    logger.info("json_stats: %s", simplejson.dumps(plain, sort_keys=True, allow_nan=False))


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, float):
        return value
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else str(value)


def printable(text: str, stream: TextIO) -> str:
    """The text as a stream can show it; what its encoding lacks is escaped: names of files may be no UTF-8."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, ESCAPED).decode(encoding)


def say(text: str, end: str = "\n") -> None:
    """Print text that may have names of files in it."""
    print(printable(text, sys.stdout), end=end)


class _Console(logging.Handler):
    """Writes to whatever sys.stdout is at the time, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            tqdm.write(printable(self.format(record), sys.stdout), file=sys.stdout)
            sys.stdout.flush()
        except Exception:  # as the standard handlers do: a log line never ends a run
            self.handleError(record)
