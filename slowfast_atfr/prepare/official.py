"""UCF101 and HMDB51: the lists of their three splits."""

import os

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.hmdb51 import Hmdb51
from slowfast_atfr.datasets.official_splits import SplitVideos
from slowfast_atfr.datasets.ucf101 import Ucf101
from slowfast_atfr.datasets.video_files import VideoFiles
from slowfast_atfr.prepare.collection import Entry, VideoSet
from slowfast_atfr.prepare.request import Request


def collect_ucf101(request: Request) -> VideoSet:
    """Collect the lists of ucfTrainTestlist/. Raises ConfigError."""
    return _collect(Ucf101, request)


def collect_hmdb51(request: Request) -> VideoSet:
    """Collect the lists of testTrainMulti_7030_splits/. Raises ConfigError."""
    return _collect(Hmdb51, request)


def _collect(dataset: type[SplitVideos], request: Request) -> VideoSet:
    """Collect split1/train to split3/val from the videos that exist, anywhere below the folder."""
    place = request.annotations or request.folder
    if not os.path.isdir(place):
        raise ConfigError(f"there is no folder {place}")
    files = VideoFiles(request.folder, skip=request.out)
    lists, missing = {}, {}
    for number in range(1, dataset.num_splits + 1):
        official = dataset.read_official(place, number)
        if official is None:
            remedy = "--annotations names the folder that does"
            raise ConfigError(f"{place} does not hold the official {dataset.official_files}; {remedy}")
        for part, videos in (("train", official.train), ("val", official.test)):
            name = f"split{number}/{part}"
            found = [(video, files.find(os.path.splitext(video.split("/")[1])[0], video.split("/")[0]), label)
                     for video, label in videos]  # fmt: skip
            lists[name] = tuple(Entry(path, label) for _, path, label in found if path)
            missing[name] = tuple(video for video, path, _ in found if not path)
    return VideoSet(request.folder, official.classes, lists, missing, sources=(official.source,))
