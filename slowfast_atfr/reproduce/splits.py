"""Train and test on every official split of a data set, and average: tools/run_splits.py."""

import logging
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.analysis import markdown
from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import num_splits
from slowfast_atfr.engine.cli import run_command
from slowfast_atfr.reproduce.runner import run_once, write_json
from slowfast_atfr.utils.distributed import RankInfo, on_main
from slowfast_atfr.utils.logging import setup_logging

logger = logging.getLogger(__name__)
GFLOPS, SPEED = "gflops_per_clip", "clips_per_second"
COLUMNS = {"top-1 %": "top1_acc", "top-5 %": "top5_acc", "GFLOPs/clip": GFLOPS}  # then bins, then the speed
BINS = "active_bins_"


def main(argv: Sequence[str] | None = None) -> int:
    """The command line of tools/run_splits.py: that of tools/run_net.py."""
    description = "Train and test a network on every official split of its data set, each in OUTPUT_DIR/splitN."
    return run_command(run_splits, argv, prog="run_splits.py", description=description)


def run_splits(cfg: CfgNode, rank: RankInfo) -> None:
    """Run each split that is not done, and log the table of all. Every process of the run calls it.

    A split is done if OUTPUT_DIR/splitN/result.json exists, which is written after its test; one that was stopped
    resumes from its newest checkpoint. The table is also in OUTPUT_DIR/splits.json.
    Raises:
        ConfigError: if the data set has only one split, the config does not train and test each split by itself, or a
            split was run with another config.
        RunError: if a result cannot be written.
    """
    last = _checked_num_splits(cfg)
    results = {}
    for number in range(1, last + 1):
        results[number] = run_once(_of_split(cfg, number), rank, f"split {number} of {last}")
        setup_logging(cfg.OUTPUT_DIR, rank.rank)
    summary = summarize(results)
    on_main(lambda: write_json(os.path.join(cfg.OUTPUT_DIR, "splits.json"), summary))
    title = f"{cfg.TEST.DATASET}, {last} splits (std: of a sample)"
    logger.info("%s; also in %s:\n%s", title, os.path.join(cfg.OUTPUT_DIR, "splits.json"), split_table(summary))


def summarize(results: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of each split, their mean and their standard deviation (n - 1).

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


def split_table(summary: Mapping[str, Any]) -> str:
    """Format a summary in markdown: a row for each split, their mean and their standard deviation."""
    names = {key: name for name, key in COLUMNS.items()} | {SPEED: "clips/s"}
    keys = _figures(summary["mean"])
    header = ["split", *(names.get(key, f"bins {key.removeprefix(BINS).replace('_', ' ')}") for key in keys)]
    rows = [
        [name, *(f"{float(stats[key]):{'.4g' if key == GFLOPS else '.2f'}}" for key in keys)]
        for name, stats in (*summary["splits"].items(), ("mean", summary["mean"]), ("std", summary["std"]))
    ]
    return markdown.table(header, rows)


def _figures(stats: Mapping[str, Any]) -> list[str]:
    """Return the keys of the table, in order; a network without SGS has no bins."""
    return [*COLUMNS.values(), *(key for key in stats if key.startswith(BINS)), SPEED]


def _checked_num_splits(cfg: CfgNode) -> int:
    name = cfg.TRAIN.DATASET
    if name.lower() != cfg.TEST.DATASET.lower():
        raise ConfigError(
            f"TRAIN.DATASET is {name!r}, TEST.DATASET {cfg.TEST.DATASET!r}; the splits are of one data set"
        )
    last = num_splits(name)
    if last < 2:
        raise ConfigError(f"TRAIN.DATASET is {name!r}, which has one split only: tools/run_net.py trains and tests it")
    if not cfg.TEST.ENABLE:
        raise ConfigError("TEST.ENABLE is False, but the average is over tests; leave it True")
    if cfg.TEST.CHECKPOINT_FILE_PATH:
        raise ConfigError(
            f"TEST.CHECKPOINT_FILE_PATH is {cfg.TEST.CHECKPOINT_FILE_PATH!r}, one file for all splits, but "
            "the splits share videos; leave it empty: each split tests its own checkpoint"
        )
    return last


def _of_split(cfg: CfgNode, number: int) -> CfgNode:
    split = cfg.clone()
    split.defrost()
    split.DATA.SPLIT = number
    split.OUTPUT_DIR = os.path.join(cfg.OUTPUT_DIR, f"split{number}")
    split.freeze()
    return split
