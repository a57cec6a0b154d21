"""Every official split of a data set, trained and tested in turn, and their average: tools/run_splits.py."""

import gc
import json
import logging
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.config.load import flatten
from slowfast_atfr.datasets.build import num_splits
from slowfast_atfr.engine.cli import run_command, train_and_test
from slowfast_atfr.utils.distributed import RankInfo, on_main
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole
from slowfast_atfr.utils.logging import setup_logging

logger = logging.getLogger(__name__)
GFLOPS, SPEED = "gflops_per_clip", "clips_per_second"
COLUMNS = {"top-1 %": "top1_acc", "top-5 %": "top5_acc", "GFLOPs/clip": GFLOPS}  # then bins, then the speed
BINS = "active_bins_"
# What a finished split may have had otherwise: machines, places, and how much is told on the way.
FREE = {"OUTPUT_DIR", "DATA.PATH_TO_DATA_DIR", "DATA.PATH_PREFIX", "NUM_GPUS", "NUM_SHARDS", "SHARD_ID", "DIST_BACKEND"}
FREE |= {"DATA_LOADER.NUM_WORKERS", "DATA_LOADER.PIN_MEMORY", "LOG_PERIOD", "LOG_MODEL_INFO", "TRAIN.ENABLE"}
FREE |= {"TRAIN.AUTO_RESUME", "TRAIN.EVAL_PERIOD", "TRAIN.CHECKPOINT_PERIOD", "TEST.SAVE_RESULTS_PATH"}
FREE |= {"DIST_TIMEOUT", "TRAIN.CHECKPOINT_ITERATIONS"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of tools/run_splits.py: that of tools/run_net.py."""
    description = "Train and test a network on every official split of its data set, each in OUTPUT_DIR/splitN."
    return run_command(run_splits, argv, prog="run_splits.py", description=description)


def run_splits(cfg: CfgNode, rank: RankInfo) -> None:
    """What one process does: each split that is not done yet, and the table of all. Every process of the run calls it.

    A split is done when OUTPUT_DIR/splitN/result.json is there, which is written behind its test; one that was stopped
    goes on from its newest checkpoint. OUTPUT_DIR/splits.json and the log get the table.
    Raises:
        ConfigError: if the data set has one split only, the config does not train and test each split by itself, or a
            split was done with another config.
        RunError: if a result cannot be written.
    """
    last = _checked_num_splits(cfg)
    results = {}
    for number in range(1, last + 1):
        results[number] = _run_split(_of_split(cfg, number), rank, last)
        setup_logging(cfg.OUTPUT_DIR, rank.rank)
        gc.collect()  # a network under DDP holds itself, and its memory, in a circle
    summary = summarize(results)
    on_main(lambda: _write_json(os.path.join(cfg.OUTPUT_DIR, "splits.json"), summary))
    title = f"{cfg.TEST.DATASET}, {last} splits (std: of a sample)"
    logger.info("%s; the same in %s:\n%s", title, os.path.join(cfg.OUTPUT_DIR, "splits.json"), table(summary))


def summarize(results: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of each split, and their mean and standard deviation (n - 1) over the splits.

    Args:
        results: `test_final` figures by number of the split, all with the same keys.
    """
    keys = _figures(next(iter(results.values())))
    values = {key: [float(stats[key]) for stats in results.values()] for key in keys}
    return {
        "splits": {str(number): dict(stats) for number, stats in results.items()},
        "mean": {key: statistics.fmean(series) for key, series in values.items()},
        "std": {key: statistics.stdev(series) for key, series in values.items()},
    }


def table(summary: Mapping[str, Any]) -> str:
    """A summary in markdown: a row for each split, their mean and their standard deviation."""
    names = {key: name for name, key in COLUMNS.items()} | {SPEED: "clips/s"}
    keys = _figures(summary["mean"])
    rows = [["split", *(names.get(key, f"bins {key.removeprefix(BINS).replace('_', ' ')}") for key in keys)]]
    rows.append(["---", *("---:" for _ in keys)])
    for name, stats in (*summary["splits"].items(), ("mean", summary["mean"]), ("std", summary["std"])):
        rows.append([name, *(f"{float(stats[key]):{'.4g' if key == GFLOPS else '.2f'}}" for key in keys)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _figures(stats: Mapping[str, Any]) -> list[str]:
    """The keys that the table has, in its order; a network without SGS has no bins."""
    return [*COLUMNS.values(), *(key for key in stats if key.startswith(BINS)), SPEED]


def _checked_num_splits(cfg: CfgNode) -> int:
    name = cfg.TRAIN.DATASET
    if name.lower() != cfg.TEST.DATASET.lower():
        raise ConfigError(f"TRAIN.DATASET is {name!r}, TEST.DATASET {cfg.TEST.DATASET!r}; the splits are those of one")
    last = num_splits(name)
    if last < 2:
        raise ConfigError(f"TRAIN.DATASET is {name!r}, which has one split only: tools/run_net.py trains and tests it")
    if not cfg.TEST.ENABLE:
        raise ConfigError("TEST.ENABLE is False, but the average is that of the tests; leave it True")
    if cfg.TEST.CHECKPOINT_FILE_PATH:
        raise ConfigError(
            f"TEST.CHECKPOINT_FILE_PATH is {cfg.TEST.CHECKPOINT_FILE_PATH!r}, one file for all splits, but what "
            "one split trains on is tested in another; leave it empty: each split tests its own checkpoint"
        )
    return last


def _of_split(cfg: CfgNode, number: int) -> CfgNode:
    split = cfg.clone()
    split.defrost()
    split.DATA.SPLIT = number
    split.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, f"split{number}")
    split.freeze()
    return split


def _run_split(cfg: CfgNode, rank: RankInfo, last: int) -> dict[str, Any]:
    """The figures of a split's test, by its result if that is there, else by training and testing. A collective."""
    path, number = os.path.join(cfg.OUTPUT_DIR, "result.json"), cfg.DATA.SPLIT
    stats = on_main(lambda: _read_result(path, cfg))
    if stats is not None:
        logger.info("split %d of %d is done: top-1 %s%%, from %s", number, last, stats["top1_acc"], path)
        return stats
    logger.info("split %d of %d: its log is %s", number, last, os.path.join(cfg.OUTPUT_DIR, "stdout.log"))
    setup_logging(cfg.OUTPUT_DIR, rank.rank)
    stats = train_and_test(cfg, rank)
    on_main(lambda: _write_json(path, {"stats": stats, "cfg": dict(flatten(cfg))}))
    return stats


def _read_result(path: str, cfg: CfgNode) -> dict[str, Any] | None:
    """The figures in a result; None if it is not there.

    Raises:
        ConfigError: if it cannot be read, or comes from a config that gives another result.
    """
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            result = json.load(file)
        stats, before = result["stats"], result["cfg"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"cannot read the result {path}: {error}; remove it to test the split again") from None
    now = dict(flatten(cfg))
    changed = [key for key in now if key not in FREE and key in before and before[key] != now[key]]
    if changed:
        told = ", ".join(f"{key} was {before[key]!r} and is {now[key]!r}" for key in changed[:5])
        raise ConfigError(f"{path} is of another config ({told}); choose another OUTPUT_DIR, or remove it to redo it")
    return stats


def _write_json(path: str, data: Any) -> None:
    try:
        write_whole(path, json.dumps(data, indent=1, default=float) + "\n")
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; the checkpoints are as they were") from None
