"""Check that videos can be decoded, and report those that cannot."""

import csv
import io
import os
from collections.abc import Mapping

import numpy as np

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoder import Video, use_video
from slowfast_atfr.datasets.decoding.frame_folder import FrameFolder, scan_folder
from slowfast_atfr.utils.files import write_whole

HEADER = ["path", "reason"]


def check_video(path: str, *, quick: bool) -> None:
    """Decode every frame of a video or of a folder of pictures; with `quick` only the first and the last.

    Raises:
        DecodeError: if it cannot be.
    """

    def read(frames: Video | FrameFolder) -> None:
        wanted = [0, frames.num_frames - 1] if quick else np.arange(frames.num_frames)
        frames.read(wanted, lambda frame: frame[:1, :1, :1])

    read(scan_folder(path)) if os.path.isdir(path) else use_video(path, read)


def write_report(path: str, reasons: Mapping[str, str]) -> None:
    """Write the path and the reason of each bad video as csv. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([HEADER, *sorted(reasons.items())])
    write_whole(path, text.getvalue())


def read_report(path: str) -> dict[str, str]:
    """Read the reasons by path. Raises ConfigError if the file is no report."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *rows = csv.reader(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the report {path}: {error}; --check writes it") from None
    if header != HEADER or any(len(row) != 2 for row in rows):
        raise ConfigError(f"{path} is no report of --check, a csv with the columns {', '.join(HEADER)}")
    return dict(rows)
