"""Data sets by name."""

from fvcore.common.config import CfgNode
from fvcore.common.registry import Registry

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.video_dataset import VideoDataset

DATASET_REGISTRY = Registry("DATASET")
DATASET_REGISTRY.__doc__ = "Classes of data sets, made from (cfg, split)."


def build_dataset(name: str, cfg: CfgNode, split: str) -> VideoDataset:
    """The data set that TRAIN.DATASET or TEST.DATASET names.

    Args:
        name: key of DATASET_REGISTRY, in capitals or not.
        cfg: of the run.
        split: train, val or test.
    Raises:
        ConfigError: if there is no such data set, or its lists cannot be read.
    """
    known = {key.lower(): dataset for key, dataset in DATASET_REGISTRY}
    if name.lower() not in known:
        key = "TEST.DATASET" if split == "test" else "TRAIN.DATASET"
        raise ConfigError(f"{key} is {name!r}; choose one of {', '.join(sorted(known))}")
    return known[name.lower()](cfg, split)
