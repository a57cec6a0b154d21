"""HMDB51: 6766 videos of 51 actions in three official splits, each of 70 training and 30 test videos of a class."""

import os

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import DATASET_REGISTRY
from slowfast_atfr.datasets.kinetics import read_folder, read_lines
from slowfast_atfr.datasets.official_splits import OfficialSplit, SplitVideos

_FOLDER = "testTrainMulti_7030_splits"
_PARTS = ("0", "1", "2")  # unused, training, testing


@DATASET_REGISTRY.register()
class Hmdb51(SplitVideos):
    """DATA.PATH_TO_DATA_DIR holds split{1,2,3}/ or the official files; PATH_PREFIX is the folder of the classes."""

    official_files = f"{_FOLDER}/ (brush_hair_test_split1.txt, ...)"

    @staticmethod
    def read_official(folder: str, number: int) -> OfficialSplit | None:
        """Lines of {class}_test_split{number}.txt: `video.avi 0`; 1 trains, 2 tests. Labels are alphabetical."""
        ending = f"_test_split{number}.txt"
        for place in (folder, os.path.join(folder, _FOLDER)):
            names = read_folder(place)
            classes = tuple(sorted(name.removesuffix(ending) for name in names if name.endswith(ending)))
            if classes:
                break
        else:
            return None
        videos = [
            (part, f"{name}/{video}", label)
            for label, name in enumerate(classes)
            for video, part in _read_parts(os.path.join(place, name + ending))
        ]
        train, test = (tuple((video, label) for of, video, label in videos if of == part) for part in _PARTS[1:])
        if not train or not test:
            raise ConfigError(f"{place}: split {number} has {len(train)} training and {len(test)} test videos")
        return OfficialSplit(place, classes, train, test)


def _read_parts(path: str) -> list[tuple[str, str]]:
    """Read (file, part) of each line."""
    videos = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        video, _, part = line.rpartition(" ")
        if not video.strip() or part not in _PARTS:
            raise ConfigError(
                f"{path}, line {number}: {line!r} is not `video.avi N` with 0, 1 (training) or 2 (testing)"
            )
        videos.append((video.strip(), part))
    return videos
