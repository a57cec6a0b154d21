"""One's own data set: a folder for each class, with or without train/ and val/ above."""

from collections import defaultdict

import numpy as np

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.video_files import VIDEO_ENDINGS, is_video, walk_files
from slowfast_atfr.prepare.collection import Entry, VideoSet
from slowfast_atfr.prepare.request import Request

PARTS = ("train", "val", "test")
PART_NAMES = {*PARTS, "training", "valid", "validate", "validation", "testing"}


def collect_folder(request: Request) -> VideoSet:
    """FOLDER/class/..., parted at random; or, where FOLDER/train and FOLDER/val are there, FOLDER/train/class/... .

    Classes are labelled by the alphabet.
    Raises:
        ConfigError: if there are no classes with videos, or a list would lack what the other has.
    """
    others, stray, by_class = 0, [], defaultdict(list)
    for path in walk_files(request.folder, skip=request.out):
        if not is_video(path):
            others += 1
        elif "/" not in path:
            stray.append(path)
        else:
            by_class[path.partition("/")[0]].append(path)
    notes = [f"{others} files that are no videos by their endings ({', '.join(VIDEO_ENDINGS)})"] if others else []
    notes += [f"{len(stray)} videos that are in no folder of a class, such as {stray[0]}"] if stray else []
    notes = [f"left out: {note}" for note in notes]
    if {"train", "val"} <= by_class.keys():
        lists, classes = _given(request.folder, by_class)
        return VideoSet(request.folder, classes, lists, notes=tuple(notes))
    parts = sorted(name for name in by_class if name.lower() in PART_NAMES)
    if len(parts) > 1:  # one alone may be a class: of vehicles, train
        raise ConfigError(
            f"{request.folder} holds {'/ and '.join(parts)}/, parts rather than classes; name them train/, val/ and, "
            "if there is one, test/, with a folder for each class in each"
        )
    if len(by_class) < 2:
        found = f"one folder with videos, {next(iter(by_class))}" if by_class else "no folder with videos"
        raise ConfigError(f"{request.folder} holds {found}; expected is a folder for each class, or train/ and val/")
    classes = tuple(sorted(by_class))
    train, val, single = _parted([by_class[name] for name in classes], request.val_share, request.seed)
    share = f"{request.val_share:g} of each class are in val, by the seed {request.seed} (--val-share, --seed)"
    notes.append(share)
    notes += [f"a single video, all in train: {', '.join(classes[label] for label in single)}"] if single else []
    return VideoSet(request.folder, classes, {"train": train, "val": val}, notes=tuple(notes))


def _given(folder: str, by_part: dict[str, list[str]]) -> tuple[dict[str, tuple[Entry, ...]], tuple[str, ...]]:
    """The lists that train/, val/ and test/ make, and the classes."""
    stray = next((path for part in by_part.values() for path in part if path.count("/") < 2), None)
    if stray or by_part.keys() - set(PARTS):
        wrong = stray or f"{min(by_part.keys() - set(PARTS))}/"
        raise ConfigError(f"{folder} has train/ and val/, so videos stand in train/CLASS/..., but there is {wrong}")
    found = {part: [(path.split("/")[1], path) for path in by_part[part]] for part in PARTS if part in by_part}
    classes = tuple(sorted({name for name, _ in found["train"]}))
    for part, videos in found.items():
        unknown = sorted({name for name, _ in videos} - set(classes))
        if unknown:
            raise ConfigError(f"{folder}/{part} has the class {unknown[0]!r}, of which {folder}/train has no video")
    label_of = {name: label for label, name in enumerate(classes)}
    lists = {part: tuple(Entry(path, label_of[name]) for name, path in videos) for part, videos in found.items()}
    return lists, classes


def _parted(
    by_label: list[list[str]], val_share: float, seed: int
) -> tuple[tuple[Entry, ...], tuple[Entry, ...], list[int]]:
    """Train, val, and the labels that have one video only: that is in train. Others have videos in both."""
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
