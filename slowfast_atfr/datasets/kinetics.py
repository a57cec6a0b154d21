"""Kinetics, and any other list of labelled video files."""

import codecs
import csv
import io
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import DATASET_REGISTRY
from slowfast_atfr.datasets.clip_sampling import Windows
from slowfast_atfr.datasets.decoder import Video, video_opener
from slowfast_atfr.datasets.string_table import StringTable
from slowfast_atfr.datasets.video_dataset import VideoDataset
from slowfast_atfr.datasets.video_files import is_video, visible

logger = logging.getLogger(__name__)


@DATASET_REGISTRY.register()
class Kinetics(VideoDataset):
    """Videos of DATA.PATH_TO_DATA_DIR/{train,val,test}.csv; clips are windows of a fixed duration."""

    def __init__(self, cfg: CfgNode, split: str) -> None:
        paths, labels = self.read_list(cfg, split)
        super().__init__(cfg, split, np.array(labels, np.int64))
        self._paths = StringTable(os.path.join(cfg.DATA.PATH_PREFIX, path) for path in paths)
        self._open_video = video_opener(cfg)

    @classmethod
    def read_list(cls, cfg: CfgNode, split: str) -> tuple[list[str], list[int]]:
        """Return paths, relative to DATA.PATH_PREFIX, and labels of a split. Raises ConfigError."""
        return read_split(cfg, cfg.DATA.PATH_TO_DATA_DIR, split)

    def path(self, index: int) -> str:
        return self._paths[index]

    def open(self, index: int) -> AbstractContextManager[Video]:
        return self._open_video(self.path(index))

    def random_indices(self, video: Video, rng: np.random.Generator) -> np.ndarray:
        low, high = self.cfg.DATA.SAMPLING_RATE, self.cfg.MULTIGRID.LONG_CYCLE_SAMPLING_RATE
        sampling_rate = int(rng.integers(low, high, endpoint=True)) if high else low
        return Windows(video.timeline, self.cfg.DATA, sampling_rate).random(rng)

    def middle_indices(self, video: Video) -> np.ndarray:
        longest = self.cfg.MULTIGRID.LONG_CYCLE_SAMPLING_RATE  # a phase with fewer frames keeps the duration
        return Windows(video.timeline, self.cfg.DATA, longest or None).view(0, 1, use_offset=True)

    def view_indices(self, video: Video) -> np.ndarray:
        windows = Windows(video.timeline, self.cfg.DATA)
        return windows.views(self.cfg.TEST.NUM_ENSEMBLE_VIEWS, use_offset=self.cfg.DATA.USE_OFFSET_SAMPLING)


def read_video_list(path: str, *, separator: str, num_classes: int) -> tuple[list[str], list[int]]:
    """Read paths and labels of a list with a line `path label` for each video.

    Args:
        path: of the list. Its first line may be a header: two columns, not a file and a number. Blank lines are
            skipped.
        separator: between path and label (DATA.PATH_LABEL_SEPARATOR); a comma is accepted, too. Columns may be quoted
            as in csv.
        num_classes: labels are below it.
    Raises:
        ConfigError: naming file and line.
    """
    paths, labels = [], []
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        columns = [pair for mark in (separator, ",") for pair in _columns(line, mark)]
        found = next(((v, label) for v, label in columns if v and label.lstrip("-").isdecimal()), None)
        if found is None:
            if number == 1 and columns and not any(_is_file(video) for video, _ in columns):
                logger.info("%s: line 1, %r, is read as a header", path, line)
                continue
            raise ConfigError(f"{path}, line {number}: {line!r} is not `path{separator}label` with an integer label")
        video, label = found[0], int(found[1])
        if not 0 <= label < num_classes:
            choices = f"with MODEL.NUM_CLASSES {num_classes} labels go from 0 to {num_classes - 1}"
            raise ConfigError(f"{path}, line {number}: the label is {label}; {choices}")
        paths.append(video)
        labels.append(label)
    if not paths:
        raise ConfigError(f"{path} lists no video")
    return paths, labels


def _columns(line: str, separator: str) -> Iterator[tuple[str, str]]:
    """Yield possible (path, label) of a line: by csv rules if it has quotes, and by its last separator."""
    if '"' in line and len(separator) == 1:
        with suppress(csv.Error):
            cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
            if len(cells) == 2 and all(cells):
                yield cells[0], cells[1].strip()
    video, _, label = line.rpartition(separator)
    if video.rstrip(", \t") and label.strip():
        yield video.rstrip(", \t"), label.strip()


def _is_file(path: str) -> bool:
    """Return whether a first column is a file rather than a header."""
    return is_video(path) or "/" in path or bool(os.path.splitext(path)[1])


def read_split(cfg: CfgNode, folder: str, split: str) -> tuple[list[str], list[int]]:
    """Read paths and labels of {split}.csv in a folder; for test also of val.csv. Raises ConfigError."""
    path = os.path.join(folder, f"{split}.csv")
    if split == "test" and not os.path.isfile(path):
        path = os.path.join(folder, "val.csv")
        logger.info("%s has no test.csv; tests use val.csv", folder)
    if not os.path.isfile(path):
        missing = f"there is no file {path}" if os.path.isdir(folder) else "there is no such folder"
        expected = "train.csv, val.csv and optionally test.csv, with a line `path label` for each video"
        raise ConfigError(f"DATA.PATH_TO_DATA_DIR is {folder!r}, but {missing}; expected are {expected}")
    return read_video_list(path, separator=cfg.DATA.PATH_LABEL_SEPARATOR, num_classes=cfg.MODEL.NUM_CLASSES)


def read_lines(path: str) -> list[str]:
    """Return the stripped lines of a UTF-8 text file.

    Raises:
        ConfigError: if it cannot be read, or naming a line that is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise ConfigError(f"cannot read the list {path}: {error.strerror}") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        line = content.split(b"\n")[number - 1].strip()
        raise ConfigError(f"{path}, line {number}: {line!r} is not UTF-8; save the list as UTF-8") from None
    return [line.strip() for line in io.StringIO(text, newline=None)]


def read_folder(path: str) -> list[str]:
    """Return the sorted visible names in a folder, [] if it does not exist. Raises ConfigError if unreadable."""
    try:
        return sorted(visible(os.listdir(path))) if os.path.isdir(path) else []
    except OSError as error:
        raise ConfigError(f"cannot read the folder {path}: {error.strerror}") from None
