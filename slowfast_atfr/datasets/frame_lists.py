"""PySlowFast's lists of frames: one line per frame in the file, a few numbers per video in memory."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoding.frame_folder import FrameFolder, split_number
from slowfast_atfr.datasets.string_table import StringTable

HEADER = "original_vido_id video_id frame_id path labels"


class FrameFolders:
    """The frame folders of many videos, in arrays that data workers share."""

    def __init__(self, folders: Iterable[FrameFolder]) -> None:
        folders = list(folders)
        self._patterns = StringTable(folder.pattern for folder in folders)
        self._numbers = np.array([(f.first, f.step, f.num_frames) for f in folders], np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> FrameFolder:
        first, step, num_frames = map(int, self._numbers[index])
        return FrameFolder(self._patterns[index], first, step, num_frames)


def read_frame_list(path: str, prefix: str = "") -> dict[str, FrameFolder]:
    """Read the videos of a list of frames, by name.

    Args:
        path: of the list. The first line is HEADER; each other line has these columns, separated by blanks: the first
            names the video, the fourth is a frame's path. Quotes are ignored, the last column may be empty.
        prefix: folder of relative paths.
    Raises:
        ConfigError: naming file and line, if a line is malformed, or the frames of a video are not evenly numbered, in
            order and in one folder.
    """
    videos: dict[str, _Rows] = {}
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline().strip()
            if not header.startswith(HEADER.split()[0]):
                raise ConfigError(f"{path}, line 1: the header is {header!r}, not {HEADER!r}")
            for number, line in enumerate(file, start=2):
                columns = line.replace('"', "").split()
                if len(columns) in (4, 5):
                    name, picture = columns[0], columns[3]
                    if name not in videos:
                        videos[name] = _Rows()
                    problem = videos[name].add(picture)
                else:
                    problem = f"{line.strip()!r} does not have the columns {HEADER!r}" if columns else None
                if problem:
                    raise ConfigError(f"{path}, line {number}: {problem}")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list {path}: {error}") from None
    prefix = prefix.replace("%", "%%")
    return {
        name: FrameFolder(os.path.join(prefix, rows.pattern), rows.first, rows.step, rows.count)
        for name, rows in videos.items()
    }


@dataclass(slots=True)
class _Rows:
    """The lines of one video read so far."""

    pattern: str = ""
    first: int = 0
    step: int = 1
    count: int = 0

    def add(self, picture: str) -> str | None:
        """Add the next frame; return what is wrong with it, or None."""
        if self.count < 2:
            try:
                pattern, number = split_number(picture)
            except ValueError as error:
                return str(error)
            if self.count == 0:
                self.pattern, self.first = pattern, number
            else:
                self.step = max(1, number - self.first)
        expected = self.pattern % (self.first + self.step * self.count)
        if picture != expected:
            return f"found {picture}, expected {expected}: frames of a video are evenly numbered, in order"
        self.count += 1
        return None
