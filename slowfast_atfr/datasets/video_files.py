"""The video files below a folder, and look-up by name."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator

from slowfast_atfr.config import ConfigError

VIDEO_ENDINGS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")


PREPARED = "prepared"  # default output folder in a data set's folder


def walk_files(folder: str, skip: str) -> Iterator[str]:
    """Yield the paths of all files below a folder, relative to it and sorted; links are followed.

    Hidden files and folders, `skip`, earlier prepared output and lost+found are left out.
    Raises:
        ConfigError: if the folder does not exist, or one below it cannot be read.
    """
    if not os.path.isdir(folder):
        raise ConfigError(f"there is no folder {folder}")

    def refuse(error: OSError) -> None:
        raise ConfigError(f"cannot read the folder {error.filename}: {error.strerror}") from None

    seen = {os.path.realpath(skip), os.path.realpath(os.path.join(folder, PREPARED))}
    for where, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # links may form a cycle
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in visible(folders) if name != "lost+found")
        for name in sorted(visible(files)):
            yield os.path.relpath(os.path.join(where, name), folder).replace(os.sep, "/")


def visible(names: Iterable[str]) -> list[str]:
    """Return the names without hidden ones, such as the ._00001.jpg of macOS."""
    return [name for name in names if not name.startswith(".")]


def is_video(path: str) -> bool:
    """Return whether a file name has a video's ending."""
    return path.lower().endswith(VIDEO_ENDINGS)


class VideoFiles:
    """The videos below a folder by stem."""

    def __init__(self, folder: str, skip: str) -> None:
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for path in walk_files(folder, skip):
            if is_video(path):
                self._by_stem[os.path.splitext(os.path.basename(path))[0]].append(path)
        if not self._by_stem:
            raise ConfigError(f"there is no video below {folder}; known endings are {', '.join(VIDEO_ENDINGS)}")

    def find(self, stem: str, *folders: str) -> str | None:
        """Return the video of a stem; of several, the one with most of `folders` in its path, earlier ones first."""
        found = self._by_stem.get(stem, ())
        if len(found) < 2:
            return found[0] if found else None

        def rank(path: str) -> tuple:
            above = path.split("/")[:-1]
            return tuple(folder not in above for folder in folders), len(above), path

        return min(found, key=rank)
