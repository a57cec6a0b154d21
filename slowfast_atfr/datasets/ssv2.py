"""Something-Something V2, and any data set in its format.

DATA.PATH_TO_DATA_DIR holds something-something-v2-{labels,train,validation}.json. Frames come from PySlowFast's lists
train.csv and val.csv in the same folder, or without them from the videos DATA.PATH_PREFIX/{id}.webm (.mp4, ...), or
folders of numbered pictures DATA.PATH_PREFIX/{id}/.
"""

import json
import logging
import os
import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import DATASET_REGISTRY
from slowfast_atfr.datasets.clip_sampling import segment_indices
from slowfast_atfr.datasets.decoder import video_opener
from slowfast_atfr.datasets.decoding.frame_folder import scan_folder
from slowfast_atfr.datasets.frame_lists import FrameFolders, read_frame_list
from slowfast_atfr.datasets.string_table import StringTable
from slowfast_atfr.datasets.video_dataset import FrameSource, VideoDataset

logger = logging.getLogger(__name__)

PREFIX = "something-something-v2-"  # of the json files
_LEFT_OR_RIGHT = re.compile(r"\b(left|right)\b", re.IGNORECASE)
VIDEO_ENDINGS = (".webm", ".mp4", ".mkv", ".avi", ".mov", "")  # in order of preference; "" is a folder of pictures


@DATASET_REGISTRY.register()
class Ssv2(VideoDataset):
    """A clip has one frame of each of NUM_FRAMES equal segments of the video. Tests use the validation list."""

    def __init__(self, cfg: CfgNode, split: str) -> None:
        folder, prefix = cfg.DATA.PATH_TO_DATA_DIR, cfg.DATA.PATH_PREFIX
        names, labels = read_labels(folder, "train" if split == "train" else "validation", cfg.MODEL.NUM_CLASSES)
        frame_list = os.path.join(folder, "train.csv" if split == "train" else "val.csv")
        self._folders: FrameFolders | None = None
        self._paths: StringTable | None = None
        if os.path.isfile(frame_list):
            listed = read_frame_list(frame_list, prefix)
            kept = [row for row, name in enumerate(names) if name in listed]
            _log_missing([name for name in names if name not in listed], len(names), f"not in {frame_list}; left out")
            self._folders = FrameFolders(listed[names[row]] for row in kept)
            labels = [labels[row] for row in kept]
        else:
            self._paths = StringTable(paths_of_videos(prefix or folder, names))
        super().__init__(cfg, split, np.array(labels, np.int64))
        self._open_video = video_opener(cfg)
        self._directed = directed_labels(folder)
        views = cfg.TEST.NUM_ENSEMBLE_VIEWS
        if split == "test" and views > 1:
            text = (
                "TEST.NUM_ENSEMBLE_VIEWS is %d, but clips of %s span the whole video: one is tested, not %d equal ones"
            )
            logger.info(text, views, cfg.TEST.DATASET, views)
        if split == "train" and cfg.DATA.RANDOM_FLIP and self._directed:
            text = "DATA.RANDOM_FLIP mirrors clips, except those of %d labels with left or right"
            logger.info(text, len(self._directed))

    def may_flip(self, index: int) -> bool:
        return int(self.labels[index]) not in self._directed

    def path(self, index: int) -> str:
        return self._paths[index] if self._folders is None else self._folders[index].path

    def open(self, index: int) -> AbstractContextManager[FrameSource]:
        if self._folders is not None:
            return nullcontext(self._folders[index])
        path = self._paths[index]
        return nullcontext(scan_folder(path)) if os.path.isdir(path) else self._open_video(path)

    def random_indices(self, video: FrameSource, rng: np.random.Generator) -> np.ndarray:
        return segment_indices(video.num_frames, count=self.cfg.DATA.NUM_FRAMES, rng=rng)

    def middle_indices(self, video: FrameSource) -> np.ndarray:
        return segment_indices(video.num_frames, count=self.cfg.DATA.NUM_FRAMES)

    def view_indices(self, video: FrameSource) -> np.ndarray:
        return self.middle_indices(video)[None]

    @property
    def num_test_clips(self) -> int:
        return 1  # the middle of every segment: all clips are the same


def read_labels(folder: str, part: str, num_classes: int, *, prefix: str = PREFIX) -> tuple[list[str], list[int]]:
    """Read ids and labels of the videos of one of Something-Something's lists.

    Args:
        folder: DATA.PATH_TO_DATA_DIR.
        part: train or validation.
        num_classes: labels are below it.
        prefix: of the files' names, before labels.json and {part}.json.
    Raises:
        ConfigError: naming file and entry.
    """
    labels_path = os.path.join(folder, f"{prefix}labels.json")
    list_path = os.path.join(folder, f"{prefix}{part}.json")
    label_of, entries = _read_json(labels_path, dict), _read_json(list_path, list)
    names, labels = [], []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not {"id", "template"} <= entry.keys():
            raise ConfigError(f"{list_path}, entry {number}: {entry!r} has no `id` and `template`")
        template = str(entry["template"]).replace("[", "").replace("]", "")
        if template not in label_of:
            raise ConfigError(f"{list_path}, entry {number}: its template, {template!r}, is not in {labels_path}")
        label = label_of[template]
        if not str(label).isdecimal() or not int(label) < num_classes:
            choices = f"with MODEL.NUM_CLASSES {num_classes} labels go from 0 to {num_classes - 1}"
            raise ConfigError(f"{labels_path}: the label of {template!r} is {label!r}; {choices}")
        names.append(str(entry["id"]))
        labels.append(int(label))
    if not names:
        raise ConfigError(f"{list_path} lists no video")
    return names, labels


def directed_labels(folder: str) -> frozenset[int]:
    """Return the labels with left or right in their text. folder: DATA.PATH_TO_DATA_DIR."""
    label_of = _read_json(os.path.join(folder, "something-something-v2-labels.json"), dict)
    found = (label for text, label in label_of.items() if _LEFT_OR_RIGHT.search(text))
    return frozenset(int(label) for label in found if str(label).isdecimal())


def paths_of_videos(folder: str, names: list[str]) -> list[str]:
    """Return the paths of videos by name; a missing video gets a path, too.

    Raises:
        ConfigError: if all are missing.
    """
    try:
        present = set(os.listdir(folder or "."))
    except OSError as error:
        raise ConfigError(f"DATA.PATH_PREFIX is {folder!r}, a folder of videos: {error.strerror}") from None
    files = [next((name + end for end in VIDEO_ENDINGS if name + end in present), None) for name in names]
    missing = [name for name, file in zip(names, files, strict=True) if file is None]
    _log_missing(missing, len(names), f"not in the folder {folder!r} (DATA.PATH_PREFIX)")
    return [os.path.join(folder, file or f"{name}{VIDEO_ENDINGS[0]}") for name, file in zip(names, files, strict=True)]


def _log_missing(missing: list[str], total: int, where: str) -> None:
    """Log how many videos are missing. Raises ConfigError if all are."""
    if not missing:
        return
    some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    text = f"{len(missing)} of {total} videos are {where}: {some}"
    if len(missing) == total:
        raise ConfigError(text)
    logger.warning("%s", text)


def _read_json(path: str, kind: type) -> Any:
    if not os.path.isfile(path):
        expected = "something-something-v2-labels.json, -train.json and -validation.json"
        raise ConfigError(f"DATA.PATH_TO_DATA_DIR has no file {path}; expected are {expected}")
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    if not isinstance(data, kind):
        raise ConfigError(f"{path} holds a {type(data).__name__}, not a {kind.__name__}")
    return data
