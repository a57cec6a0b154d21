"""UCF101: 13320 videos of 101 actions in three official splits."""

import os

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import DATASET_REGISTRY
from slowfast_atfr.datasets.kinetics import read_lines
from slowfast_atfr.datasets.official_splits import OfficialSplit, SplitVideos


@DATASET_REGISTRY.register()
class Ucf101(SplitVideos):
    """DATA.PATH_TO_DATA_DIR holds split{1,2,3}/ or ucfTrainTestlist/; DATA.PATH_PREFIX is the folder of the classes."""

    official_files = "ucfTrainTestlist/ (classInd.txt, trainlist01.txt, testlist01.txt, ...)"

    @staticmethod
    def read_official(folder: str, number: int) -> OfficialSplit | None:
        """Lines: `1 ClassName` (classInd.txt), `ClassName/video.avi 1` (trainlist01.txt), none in testlist01.txt."""
        places = (folder, os.path.join(folder, "ucfTrainTestlist"))
        place = next((place for place in places if os.path.isfile(os.path.join(place, "classInd.txt"))), None)
        if place is None:
            return None
        source = os.path.join(place, "classInd.txt")
        classes = _read_classes(source)
        label_of = {name: label for label, name in enumerate(classes)}
        train, test = (
            _read_videos(os.path.join(place, f"{part}list{number:02d}.txt"), label_of, labelled=part == "train")
            for part in ("train", "test")
        )
        return OfficialSplit(source, classes, train, test)


def _read_classes(path: str) -> tuple[str, ...]:
    """Read the names by label, from 0 here and from 1 in the file."""
    classes = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        label, _, name = line.partition(" ")
        if label != str(len(classes) + 1) or not name.strip() or name.strip() in classes:
            wanted = f"`{len(classes) + 1} ClassName`, labels from 1 on in order, each class once"
            raise ConfigError(f"{path}, line {number}: {line!r} is not {wanted}")
        classes.append(name.strip())
    if not classes:
        raise ConfigError(f"{path} lists no class")
    return tuple(classes)


def _read_videos(path: str, label_of: dict[str, int], *, labelled: bool) -> tuple[tuple[str, int], ...]:
    """Read (path, label) of each line; the path's folder gives the class."""
    videos = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        video, _, given = line.rpartition(" ") if labelled else (line, "", "")
        label = label_of.get(video.partition("/")[0])
        if label is None or video.endswith("/") or (labelled and given != str(label + 1)):
            form = "`ClassName/video.avi N`, N the number of the class" if labelled else "`ClassName/video.avi`"
            raise ConfigError(f"{path}, line {number}: {line!r} is not {form} with a class of classInd.txt")
        videos.append((video, label))
    if not videos:
        raise ConfigError(f"{path} lists no video")
    return tuple(videos)
