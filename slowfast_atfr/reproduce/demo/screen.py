"""The demo's screen: one line per epoch. Everything else is in the run's log."""

import json
import logging
from collections.abc import Callable
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.engine.cli import train_and_test
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.logging import console_shows


def train_briefly(cfg: CfgNode, rank: RankInfo, title: str) -> None:
    """Train and test as cfg says, with a line per epoch on the screen."""
    with console_shows(epoch_lines(title)):
        train_and_test(cfg, rank)


def epoch_lines(title: str) -> Callable[[logging.LogRecord], str | None]:
    """Return a function from a log record to its line on the screen: epochs, the test, warnings; None: not shown."""

    def show(record: logging.LogRecord) -> str | None:
        if record.levelno >= logging.WARNING:
            return f"{record.levelname}: {record.getMessage()}"
        _, found, text = record.getMessage().partition("json_stats: ")
        line = _line(json.loads(text)) if found else None
        return f"{title}, {line}" if line else None

    return show


def _line(stats: dict[str, Any]) -> str | None:
    if stats["_type"] == "train_epoch":
        right = 100 - stats["top1_err"]
        return f"epoch {stats['epoch']}: loss {stats['loss']:.2f}, {right:.0f} % of clips right; {stats['eta']} left"
    if stats["_type"] == "test_final":
        return f"test: {float(stats['top1_acc']):.1f} % of {stats['num_videos']} videos right"
    return None
