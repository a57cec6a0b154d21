"""Write the files of a prepared data set: lists of videos with labels, class names, missing videos."""

import csv
import io
import json
import os

from slowfast_atfr.config import ConfigError
from slowfast_atfr.prepare.collection import VideoSet
from slowfast_atfr.utils.files import write_whole


def write_video_lists(videos: VideoSet, out: str) -> None:
    """Write {list}.csv, `path label` on each line, for every list.

    Raises:
        ConfigError: if a list cannot hold a path.
        OSError: if a file cannot be written.
    """
    for path in videos.paths():
        _check_path(path)
    for name, entries in videos.lists.items():
        text = "".join(f"{path} {label}\n" for path, label in entries)
        write_whole(os.path.join(out, f"{name}.csv"), text)
    if "test" not in videos.lists and os.path.exists(os.path.join(out, "test.csv")):
        os.remove(os.path.join(out, "test.csv"))  # of an earlier run, which testing would use


def write_classes(videos: VideoSet, out: str) -> None:
    """Write classes.json, the label of each class by its name. Raises OSError."""
    labels = {name: label for label, name in enumerate(videos.classes)}
    write_whole(os.path.join(out, "classes.json"), json.dumps(labels, indent=1, ensure_ascii=False) + "\n")


def write_missing(videos: VideoSet, out: str) -> bool:
    """Write missing.csv, or remove that of an earlier run if nothing is missing; return whether there is one."""
    path = os.path.join(out, "missing.csv")
    rows = [(name, video) for name, found in videos.missing.items() for video in found]
    if not rows:
        if os.path.exists(path):
            os.remove(path)
        return False
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("list", "video"), *rows])
    write_whole(path, text.getvalue())
    return True


def check_sources(videos: VideoSet, out: str, files: list[str]) -> None:
    """Raise ConfigError if a file to be written to `out` is one of the annotations."""
    sources = {os.path.realpath(source) for source in videos.sources}
    for file in files:
        path = os.path.join(out, file)
        if os.path.realpath(path) in sources:
            raise ConfigError(
                f"--out is {out!r}, where {file} would replace the official {path}; choose another folder"
            )


def _check_path(path: str) -> None:
    """Raise ConfigError for a path that the lists' reader would change: it strips blanks and reads UTF-8."""
    if path != path.lstrip() or "\n" in path or "\r" in path:
        raise ConfigError(
            f"the name {path!r} starts with a blank or has a line break, which a list cannot hold; rename it"
        )
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"the name {path!r} is not UTF-8, as the lists are; rename it") from None
