"""Videos stored as folders of numbered pictures."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from slowfast_atfr.datasets.decoding.frame_reading import (
    DecodeError,
    FrameTransform,
    NumberedFrames,
    check_range,
    collect,
    in_one_size,
)
from slowfast_atfr.datasets.video_files import visible

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_LAST_NUMBER = re.compile(r"(\d+)(\D*)$")


@dataclass(frozen=True)
class FrameFolder:
    """A video as pictures, read as `decoder.Video`.

    pattern: printf pattern of the pictures' paths, such as "24/%05d.jpg". Frame i has number first + step * i.
    """

    pattern: str
    first: int
    step: int
    num_frames: int

    @property
    def path(self) -> str:
        """The folder."""
        return os.path.dirname(self.pattern).replace("%%", "%")

    def frame_path(self, index: int) -> str:
        """Path of the picture of a frame."""
        return self.pattern % (self.first + self.step * int(index))

    def read(self, indices: Sequence[int] | np.ndarray, transform: FrameTransform | None = None) -> np.ndarray:
        """As `decoder.Video.read`."""
        return collect(self.frames, indices, transform)

    def frames(self, wanted: np.ndarray) -> NumberedFrames:
        """As `decoder.Video.frames`."""
        check_range(self.path, wanted, self.num_frames)
        return in_one_size(self.path, wanted, (read_picture(self.frame_path(index)) for index in wanted))


def scan_folder(folder: str | os.PathLike) -> FrameFolder:
    """Return the video in a folder of numbered pictures.

    Raises:
        DecodeError: if the folder cannot be listed, has no numbered picture, or their names are not one even sequence.
    """
    folder = os.fspath(folder)
    try:
        names = [name for name in visible(os.listdir(folder)) if name.lower().endswith(IMAGE_ENDINGS)]
    except OSError as error:
        raise DecodeError(folder, error.strerror) from None
    numbered = sorted((split_number(name)[1], name) for name in names if _LAST_NUMBER.search(name))
    if not numbered:
        raise DecodeError(folder, f"the folder holds no numbered picture ({', '.join(IMAGE_ENDINGS)})")
    first, name = numbered[0]
    step = numbered[1][0] - first if len(numbered) > 1 else 1
    video = FrameFolder(os.path.join(folder.replace("%", "%%"), split_number(name)[0]), first, step, len(numbered))
    for index, (_, name) in enumerate(numbered):
        expected = os.path.basename(video.frame_path(index))
        if name != expected:
            raise DecodeError(folder, f"found {name}, expected {expected}: pictures are evenly numbered")
    return video


def split_number(path: str) -> tuple[str, int]:
    """Split a path into printf pattern and number: "24/00001.jpg" is ("24/%05d.jpg", 1). Raises ValueError."""
    folder, name = os.path.split(path)
    found = _LAST_NUMBER.search(name)
    if not found:
        raise ValueError(f"{path} has no number in its name")
    digits, rest = found.groups()
    before = os.path.join(folder, name[: found.start()])
    return f"{before.replace('%', '%%')}%0{len(digits)}d{rest.replace('%', '%%')}", int(digits)


def read_picture(path: str) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 RGB. Raises DecodeError if it is missing, truncated or not a picture."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DecodeError(path, error.strerror) from None
    is_jpeg = data.startswith(b"\xff\xd8")
    if is_jpeg and b"\xff\xd9" not in data:  # libjpeg would silently fill it with grey
        raise DecodeError(path, "the JPEG file is truncated")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise DecodeError(path, "OpenCV cannot read it as a picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
