"""The data sets that can be prepared: how each is read, and the official numbers of videos."""

from collections.abc import Callable
from dataclasses import dataclass, field

from slowfast_atfr.prepare.collection import VideoSet
from slowfast_atfr.prepare.folder import collect_folder
from slowfast_atfr.prepare.kinetics import collect_kinetics
from slowfast_atfr.prepare.lists import write_video_lists
from slowfast_atfr.prepare.official import collect_hmdb51, collect_ucf101
from slowfast_atfr.prepare.request import Request
from slowfast_atfr.prepare.ssv2 import collect_ssv2, write_ssv2_lists


@dataclass(frozen=True)
class Recipe:
    """How to prepare a data set.

    dataset: value of TRAIN.DATASET. num_classes, counts: the official numbers, by list; fewer are no error, since parts
    of Kinetics have vanished from YouTube.
    """

    title: str
    dataset: str
    collect: Callable[[Request], VideoSet]
    write: Callable[[VideoSet, str], None] = write_video_lists
    num_classes: int | None = None
    counts: dict[str, int] = field(default_factory=dict)


def _splits(train: tuple[int, int, int], val: tuple[int, int, int]) -> dict[str, int]:
    both = enumerate(zip(train, val, strict=True), start=1)
    return {f"split{n}/{part}": count for n, pair in both for part, count in zip(("train", "val"), pair, strict=True)}


def _kinetics(classes: int, train: int, val: int, test: int) -> Recipe:
    counts = {"train": train, "val": val, "test": test}
    return Recipe(f"Kinetics-{classes}", "kinetics", collect_kinetics, num_classes=classes, counts=counts)


# Kinetics: lines of the annotation files (400: hosted by CVDF; 700: edition of 2020).
RECIPES = {
    "kinetics400": _kinetics(400, 246_534, 19_906, 39_805),
    "kinetics600": _kinetics(600, 370_582, 28_313, 56_618),
    "kinetics700": _kinetics(700, 542_352, 34_125, 67_433),
    "mini_kinetics": Recipe(
        "Mini-Kinetics", "kinetics", collect_kinetics, num_classes=200, counts={"train": 80_000, "val": 5_000}
    ),
    "ssv2": Recipe(
        "Something-Something V2", "ssv2", collect_ssv2, write_ssv2_lists, 174, {"train": 168_913, "val": 24_777}
    ),
    "ucf101": Recipe(
        "UCF101", "ucf101", collect_ucf101, num_classes=101, counts=_splits((9537, 9586, 9624), (3783, 3734, 3696))
    ),
    "hmdb51": Recipe(
        "HMDB51", "hmdb51", collect_hmdb51, num_classes=51, counts=_splits((3570, 3570, 3570), (1530, 1530, 1530))
    ),
    "folder": Recipe("a folder for each class", "kinetics", collect_folder),
}
