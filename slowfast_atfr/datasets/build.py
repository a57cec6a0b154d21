"""Data sets by name."""

from collections.abc import Callable

from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.video_dataset import VideoDataset

DATASET_REGISTRY = Registry("DATASET")
DATASET_REGISTRY.__doc__ = (
    "Classes of data sets, made from (cfg, split). `num_splits`, if they have it, is the highest DATA.SPLIT."
)


def build_dataset(name: str, cfg: CfgNode, split: str) -> VideoDataset:
    """The data set that TRAIN.DATASET or TEST.DATASET names.

    Args:
        name: key of DATASET_REGISTRY, in capitals or not.
        cfg: of the run.
        split: train, val or test.
    Raises:
        ConfigError: if there is no such data set, it has no split DATA.SPLIT, or its lists cannot be read.
    """
    key = "TEST.DATASET" if split == "test" else "TRAIN.DATASET"
    _check_split(cfg, name, key)
    return dataset_class(name, key)(cfg, split)


def check_config(cfg: CfgNode) -> None:
    """Raise ConfigError for a data set that does not exist, or has no split DATA.SPLIT; of what the run uses."""
    for section in ("TRAIN", "TEST"):
        if cfg[section].ENABLE:
            _check_split(cfg, cfg[section].DATASET, f"{section}.DATASET")


def _check_split(cfg: CfgNode, name: str, key: str) -> None:
    last = num_splits(name, key)
    if last < cfg.DATA.SPLIT:
        has = f"the splits 1 to {last}" if last > 1 else "one split only, 1"
        raise ConfigError(f"DATA.SPLIT is {cfg.DATA.SPLIT}; {name} has {has}")


def num_splits(name: str, key: str = "TRAIN.DATASET") -> int:
    """How many official splits into training and testing a data set has; `key` is where its name stands.

    Raises:
        ConfigError: if there is no such data set.
    """
    return getattr(dataset_class(name, key), "num_splits", 1)


def dataset_class(name: str, key: str = "TEST.DATASET") -> Callable[[CfgNode, str], VideoDataset]:
    """What is registered under a name, in capitals or not; `key` is where the name stands. Raises ConfigError."""
    known = {entry.lower(): dataset for entry, dataset in DATASET_REGISTRY}
    if name.lower() not in known:
        raise ConfigError(f"{key} is {name!r}; choose one of {', '.join(sorted(known))}")
    return known[name.lower()]
