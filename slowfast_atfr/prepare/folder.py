"""The user's own data set: a folder for each class, with or without train/ and val/ above."""

from collections import defaultdict

import numpy as np

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.video_files import VIDEO_ENDINGS, is_video, walk_files
from slowfast_atfr.prepare.collection import Entry, VideoSet
from slowfast_atfr.prepare.request import Request

PARTS = ("train", "val", "test")
PART_NAMES = {*PARTS, "training", "valid", "validate", "validation", "testing"}


def collect_folder(request: Request) -> VideoSet:
    """Collect FOLDER/class/..., split at random, or FOLDER/train/class/... if FOLDER/train and FOLDER/val exist.

    Classes are labelled in alphabetical order.
    Raises:
        ConfigError: if there are no classes with videos, or a list lacks a class of another.
    """
    others, stray, by_class = 0, [], defaultdict(list)
    for path in walk_files(request.folder, skip=request.out):
        if not is_video(path):
            others += 1
        elif "/" not in path:
            stray.append(path)
        else:
            by_class[path.partition("/")[0]].append(path)
    notes = [f"{others} files without the name of a video ({', '.join(VIDEO_ENDINGS)})"] if others else []
    notes += [f"{len(stray)} videos outside of class folders, such as {stray[0]}"] if stray else []
    notes = [f"left out: {note}" for note in notes]
    if {"train", "val"} <= by_class.keys():
        lists, classes = _given(request.folder, by_class)
        return VideoSet(request.folder, classes, lists, notes=tuple(notes))
    parts = sorted(name for name in by_class if name.lower() in PART_NAMES)
    if len(parts) > 1:  # a single one may be a class, such as a train
        raise ConfigError(
            f"{request.folder} holds {'/ and '.join(parts)}/, splits rather than classes; name them train/, val/ and, "
            "if there is one, test/, each with a folder for each class"
        )
    if len(by_class) < 2:
        found = f"one folder with videos, {next(iter(by_class))}" if by_class else "no folder with videos"
        raise ConfigError(f"{request.folder} holds {found}; it needs a folder for each class, or train/ and val/")
    classes = tuple(sorted(by_class))
    train, val, single = _split([by_class[name] for name in classes], request.val_share, request.seed)
    notes.append(f"{request.val_share:g} of each class are in val, by the seed {request.seed} (--val-share, --seed)")
    if single:
        notes.append(f"classes with a single video, which is in train: {', '.join(classes[n] for n in single)}")
    return VideoSet(request.folder, classes, {"train": train, "val": val}, notes=tuple(notes))


def _given(folder: str, by_part: dict[str, list[str]]) -> tuple[dict[str, tuple[Entry, ...]], tuple[str, ...]]:
    """Return the lists of train/, val/ and test/, and the classes."""
    stray = next((path for part in by_part.values() for path in part if path.count("/") < 2), None)
    if stray or by_part.keys() - set(PARTS):
        wrong = stray or f"{min(by_part.keys() - set(PARTS))}/"
        raise ConfigError(f"{folder} has train/ and val/, so videos belong in train/CLASS/..., but there is {wrong}")
    found = {part: [(path.split("/")[1], path) for path in by_part[part]] for part in PARTS if part in by_part}
    classes = tuple(sorted({name for name, _ in found["train"]}))
    for part, videos in found.items():
        unknown = sorted({name for name, _ in videos} - set(classes))
        if unknown:
            raise ConfigError(f"{folder}/{part} has the class {unknown[0]!r}, but {folder}/train has no video of it")
    label_of = {name: label for label, name in enumerate(classes)}
    lists = {part: tuple(Entry(path, label_of[name]) for name, path in videos) for part, videos in found.items()}
    return lists, classes


def _split(
    by_label: list[list[str]], val_share: float, seed: int
) -> tuple[tuple[Entry, ...], tuple[Entry, ...], list[int]]:
    """Split into train and val; also return the labels with a single video, which is in train. Others are in both."""
    rng = np.random.default_rng(seed)
    train, val, single = [], [], []
    for label, paths in enumerate(by_label):
        count = min(max(1, round(val_share * len(paths))), len(paths) - 1)
        chosen = set(rng.permutation(len(paths))[:count].tolist())
        single += [label] if len(paths) == 1 else []
        for number, path in enumerate(paths):
            (val if number in chosen else train).append(Entry(path, label))
    if not val:
        raise ConfigError("no class has two videos, so there is none to validate with")
    return tuple(train), tuple(val), single
