"""Something-Something V2: its json files, checked against the files that exist."""

import json
import os
from collections import Counter
from typing import Any

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.frame_lists import HEADER
from slowfast_atfr.datasets.ssv2 import PREFIX, read_labels
from slowfast_atfr.datasets.video_files import VideoFiles, visible
from slowfast_atfr.prepare.collection import Entry, VideoSet
from slowfast_atfr.prepare.pictures import PATTERN
from slowfast_atfr.prepare.request import Request
from slowfast_atfr.utils.files import replacing, write_whole

LISTS = {"train": "train", "val": "validation"}  # our name of a list: the official one


def collect_ssv2(request: Request) -> VideoSet:
    """Collect train and val from the videos {id}.webm (.mp4, ...) in one folder below the request's.

    Raises:
        ConfigError: if a json file is missing or malformed, or there is no video.
    """
    place, prefix = _find_jsons(request)
    files = VideoFiles(request.folder, skip=request.out)
    sources = tuple(os.path.join(place, f"{prefix}{part}.json") for part in ("labels", *LISTS.values()))
    listed = {name: read_labels(place, part, 10**6, prefix=prefix) for name, part in LISTS.items()}
    found = {name: [files.find(video) for video in videos] for name, (videos, _) in listed.items()}
    places = Counter(os.path.dirname(path) for paths in found.values() for path in paths if path)
    if not places:
        raise ConfigError(f"no video of {place} is below {request.folder}; their names are 1.webm, 2.webm, ...")
    home = places.most_common(1)[0][0]  # the reader uses a single folder
    lists, missing = {}, {}
    for name, (videos, labels) in listed.items():
        here = [bool(path) and os.path.dirname(path) == home for path in found[name]]
        rows = zip(found[name], labels, here, strict=True)
        lists[name] = tuple(Entry(os.path.basename(path), label) for path, label, there in rows if there)
        missing[name] = tuple(video for video, there in zip(videos, here, strict=True) if not there)
    return VideoSet(os.path.join(request.folder, home), _classes(sources[0]), lists, missing, sources)


def _classes(path: str) -> tuple[str, ...]:
    label_of = {name: str(label) for name, label in _read(path).items()}
    if set(label_of.values()) != {str(label) for label in range(len(label_of))}:
        raise ConfigError(f"{path}: labels are the numbers from 0 to {len(label_of) - 1}, each once")
    return tuple(sorted(label_of, key=lambda name: int(label_of[name])))


def _find_jsons(request: Request) -> tuple[str, str]:
    """Return the folder of the json files, and the prefix of their names before labels.json and so on."""
    places = [request.annotations] if request.annotations else [request.folder, os.path.join(request.folder, "labels")]
    for place in places:
        for prefix in (PREFIX, ""):
            if all(os.path.isfile(os.path.join(place, f"{prefix}{part}.json")) for part in ("labels", *LISTS.values())):
                return place, prefix
    raise ConfigError(
        f"{' and '.join(places)} do not hold {PREFIX}labels.json, -train.json and -validation.json, nor labels.json, "
        "train.json and validation.json; --annotations names the folder that holds them"
    )


def write_ssv2_lists(videos: VideoSet, out: str) -> None:
    """Write the json files for the videos of the lists and, for folders of pictures, PySlowFast's lists of frames.

    Raises:
        OSError: if one cannot be written.
    """
    written = {"labels": _read(videos.sources[0])}
    for (name, part), source in zip(LISTS.items(), videos.sources[1:], strict=True):
        stem_to_path = {os.path.splitext(path)[0]: path for path, _ in videos.lists[name]}
        written[part] = [entry for entry in _read(source) if str(entry["id"]) in stem_to_path]
        frame_list = os.path.join(out, f"{name}.csv")
        if all(path == stem for stem, path in stem_to_path.items()):  # folders
            _write_frame_list(frame_list, videos.root, list(stem_to_path))
        elif os.path.exists(frame_list):  # of an earlier run, which would be read in place of the videos
            os.remove(frame_list)
    for part, data in written.items():
        write_whole(os.path.join(out, f"{PREFIX}{part}.json"), json.dumps(data, indent=0, ensure_ascii=False) + "\n")


def _write_frame_list(path: str, root: str, folders: list[str]) -> None:
    """Write a line for each picture, one at a time: there are millions."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write(f"{HEADER}\n")
        for number, folder in enumerate(folders):
            for frame in range(len(visible(os.listdir(os.path.join(root, folder))))):
                file.write(f'{folder} {number} {frame} {folder}/{PATTERN % (frame + 1)} ""\n')


def _read(path: str) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)
