"""Data sets with several official train/test splits; DATA.SPLIT chooses one."""

import os
from abc import abstractmethod
from dataclasses import dataclass

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.kinetics import Kinetics, read_split


@dataclass(frozen=True)
class OfficialSplit:
    """One split of the annotation files: names of classes by label, (path, label) of the videos."""

    source: str
    classes: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]


class SplitVideos(Kinetics):
    """Clips as for Kinetics. DATA.PATH_TO_DATA_DIR holds split{1,2,3}/ with lists, or the official files.

    Validation and tests use the same videos.
    """

    num_splits = 3
    official_files: str  # for messages

    @staticmethod
    @abstractmethod
    def read_official(folder: str, number: int) -> OfficialSplit | None:
        """Read split `number` from the official files in a folder or its subfolder; None if they do not exist.

        Raises:
            ConfigError: naming file and line.
        """

    @classmethod
    def read_list(cls, cfg: CfgNode, split: str) -> tuple[list[str], list[int]]:
        folder, number = cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.SPLIT
        lists = os.path.join(folder, f"split{number}")
        if os.path.isdir(lists):
            return read_split(cfg, lists, split)
        official = cls.read_official(folder, number)
        if official is None:
            raise ConfigError(
                f"DATA.PATH_TO_DATA_DIR is {folder!r}, which has neither {os.path.basename(lists)}/ with lists of "
                f"tools/prepare_data.py, nor the official {cls.official_files}"
            )
        if len(official.classes) > cfg.MODEL.NUM_CLASSES:
            seen = f"{official.source} has {len(official.classes)} classes"
            raise ConfigError(f"MODEL.NUM_CLASSES is {cfg.MODEL.NUM_CLASSES}, but {seen}; set it to that")
        paths, labels = zip(*(official.train if split == "train" else official.test), strict=True)
        return list(paths), list(labels)
