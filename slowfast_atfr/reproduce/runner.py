"""Runs of a series, each trained and tested once: a run that is done is not done again, one that stopped goes on."""

import gc
import json
import logging
import os
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.config.load import flatten
from slowfast_atfr.engine.cli import train_and_test
from slowfast_atfr.utils.distributed import RankInfo, on_main
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole
from slowfast_atfr.utils.logging import setup_logging

logger = logging.getLogger(__name__)
RESULT = "result.json"
# What a finished run may have had otherwise: machines, places, and how much is told on the way.
FREE = {"OUTPUT_DIR", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX", "NUM_GPUS", "NUM_SHARDS", "SHARD_ID", "DIST_BACKEND"}
FREE |= {"DATA_LOADER.NUM_WORKERS", "DATA_LOADER.PIN_MEMORY", "LOG_PERIOD", "LOG_MODEL_INFO", "TRAIN.ENABLE"}
FREE |= {"TRAIN.AUTO_RESUME", "TRAIN.EVAL_PERIOD", "TRAIN.CHECKPOINT_PERIOD", "TEST.SAVE_RESULTS_PATH"}
FREE |= {"DIST_TIMEOUT", "TRAIN.CHECKPOINT_ITERATIONS"}


def run_once(cfg: CfgNode, rank: RankInfo, name: str) -> dict[str, Any]:
    """Train and test as cfg says, unless OUTPUT_DIR/result.json is there. Every process of the series calls it.

    Args:
        cfg: of the run; TEST.ENABLE is True. It logs into its own OUTPUT_DIR.
        name: of the run, for the log.
    Returns:
        the `test_final` figures.
    Raises:
        ConfigError: if the result that is there cannot be read, or comes from a config that gives another result.
        RunError: if the result cannot be written.
    """
    stats = on_main(lambda: read_result(cfg))
    if stats is not None:
        logger.info("%s is done: top-1 %s%%, from %s", name, stats["top1_acc"], os.path.join(cfg.OUTPUT_DIR, RESULT))
        return stats
    logger.info("%s: its log is %s", name, os.path.join(cfg.OUTPUT_DIR, "stdout.log"))
    setup_logging(cfg.OUTPUT_DIR, rank.rank)
    stats = train_and_test(cfg, rank)
    on_main(lambda: write_json(os.path.join(cfg.OUTPUT_DIR, RESULT), {"stats": stats, "cfg": dict(flatten(cfg))}))
    gc.collect()  # a network under DDP holds itself, and its memory, in a circle
    return stats


def read_result(cfg: CfgNode) -> dict[str, Any] | None:
    """The figures in OUTPUT_DIR/result.json; None if it is not there.

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
    now = dict(flatten(cfg))
    changed = [key for key in now if key not in FREE and key in before and before[key] != now[key]]
    if changed:
        told = ", ".join(f"{key} was {before[key]!r} and is {now[key]!r}" for key in changed[:5])
        raise ConfigError(f"{path} is of another config ({told}); choose another OUTPUT_DIR, or remove it to redo it")
    return stats


def write_json(path: str, data: Any) -> None:
    """Write data whole or not at all. Raises RunError."""
    try:
        write_whole(path, json.dumps(data, indent=1, default=float) + "\n")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; the checkpoints are as they were") from None
