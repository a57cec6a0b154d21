"""Data sets by name."""

from collections.abc import Callable

from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.video_dataset import VideoDataset

DATASET_REGISTRY = Registry("DATASET")
DATASET_REGISTRY.__doc__ = (
    "Classes of data sets, built from (cfg, split). Their optional `num_splits` is the highest DATA.SPLIT."
)


def build_dataset(name: str, cfg: CfgNode, split: str) -> VideoDataset:
    """Build the data set TRAIN.DATASET or TEST.DATASET.

    Args:
        name: key of DATASET_REGISTRY, in any case.
        cfg: of the run.
        split: train, val or test.
    Raises:
        ConfigError: if there is no such data set, it has no split DATA.SPLIT, or its lists cannot be read.
    """
    key = "TEST.DATASET" if split == "test" else "TRAIN.DATASET"
    _check_split(cfg, name, key)
    return dataset_class(name, key)(cfg, split)


def check_config(cfg: CfgNode) -> None:
    """Raise ConfigError if a data set of the run does not exist, or has no split DATA.SPLIT."""
    for section in ("TRAIN", "TEST"):
        if cfg[section].ENABLE:
            _check_split(cfg, cfg[section].DATASET, f"{section}.DATASET")


def _check_split(cfg: CfgNode, name: str, key: str) -> None:
    last = num_splits(name, key)
    if last < cfg.DATA.SPLIT:
        has = f"the splits 1 to {last}" if last > 1 else "one split only, 1"
        raise ConfigError(f"DATA.SPLIT is {cfg.DATA.SPLIT}; {name} has {has}")


def num_splits(name: str, key: str = "TRAIN.DATASET") -> int:
    """Return the number of official train/test splits of a data set; `key` of the config has its name.

    Raises:
        ConfigError: if there is no such data set.
    """
    return getattr(dataset_class(name, key), "num_splits", 1)


def dataset_class(name: str, key: str = "TEST.DATASET") -> Callable[[CfgNode, str], VideoDataset]:
    """Return the data set registered under a name, in any case; `key` of the config has it. Raises ConfigError."""
    known = {entry.lower(): dataset for entry, dataset in DATASET_REGISTRY}
    if name.lower() not in known:
        raise ConfigError(f"{key} is {name!r}; choose one of {', '.join(sorted(known))}")
    return known[name.lower()]
