"""Train and test the runs of a series, each once: finished runs are skipped, stopped ones resume."""

import gc
import json
import logging
import os
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.config.config_diff import changed_keys, format_changes
from slowfast_atfr.config.load import flatten
from slowfast_atfr.engine.cli import train_and_test
from slowfast_atfr.utils.distributed import RankInfo, on_main
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole
from slowfast_atfr.utils.logging import setup_logging

logger = logging.getLogger(__name__)
RESULT = "result.json"


def run_once(cfg: CfgNode, rank: RankInfo, name: str) -> dict[str, Any]:
    """Train and test as cfg says, unless OUTPUT_DIR/result.json exists. Every process of the series calls it.

    Args:
        cfg: of the run; TEST.ENABLE is True. It logs into its own OUTPUT_DIR.
        name: of the run, for the log.
    Returns:
        the `test_final` figures.
    Raises:
        ConfigError: if an old result cannot be read, or comes from a config that gives another result.
        RunError: if the result cannot be written.
    """
    stats = on_main(lambda: read_result(cfg))
    if stats is not None:
        logger.info("%s is done: top-1 %s%%, from %s", name, stats["top1_acc"], os.path.join(cfg.OUTPUT_DIR, RESULT))
        return stats
    logger.info("%s: its log is %s", name, os.path.join(cfg.OUTPUT_DIR, "stdout.log"))
    stats = train_with_log(cfg, rank)
    on_main(lambda: write_json(os.path.join(cfg.OUTPUT_DIR, RESULT), {"stats": stats, "cfg": dict(flatten(cfg))}))
    return stats


def train_with_log(cfg: CfgNode, rank: RankInfo) -> dict[str, Any]:
    """Train and test with a log in OUTPUT_DIR; return the `test_final` figures, with the network's memory freed."""
    setup_logging(cfg.OUTPUT_DIR, rank.rank)
    stats = train_and_test(cfg, rank)
    gc.collect()  # a network under DDP is in a reference cycle
    return stats


def read_result(cfg: CfgNode) -> dict[str, Any] | None:
    """Read the figures in OUTPUT_DIR/result.json; None if it does not exist.

    Raises:
        ConfigError: if it cannot be read, or comes from a config that gives another result.
    """
    path = os.path.join(cfg.OUTPUT_DIR, RESULT)
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        stats, before = result["stats"], result["cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"cannot read the result {path}: {error}; remove it to test again") from None
    changed = changed_keys(before, cfg)
    if changed:
        remedy = "choose another OUTPUT_DIR, or remove it to redo it"
        raise ConfigError(f"{path} is of another config ({format_changes(changed)}); {remedy}")
    return stats


def write_json(path: str, data: Any) -> None:
    """Write data whole or not at all. Raises RunError."""
    try:
        write_whole(path, json.dumps(data, indent=1, default=float) + "\n")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; the checkpoints are unchanged") from None
