"""Videos as folders of pictures: 00001.jpg, 00002.jpg, ..."""

import os
from functools import partial

import cv2

from slowfast_atfr.datasets.decoder import Video, use_video
from slowfast_atfr.prepare.scale import scaled_frames
from slowfast_atfr.utils.files import replacing

PATTERN = "%05d.jpg"
QUALITY = 95


def extract_frames(job: tuple[str, str], *, short_side: int) -> None:
    """Write every frame of a video as a JPEG picture, all or none; small videos keep their size.

    Args:
        job: the file, and the folder to write, which does not exist yet.
        short_side: pixels, even.
    Raises:
        DecodeError: if not every frame can be decoded.
        OSError: if the folder cannot be written.
    """
    source, target = job
    jpegs = use_video(source, partial(_jpegs, short_side=short_side))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with replacing(target) as part:
        os.mkdir(part)
        for number, jpeg in enumerate(jpegs, start=1):
            with open(os.path.join(part, PATTERN % number), "wb") as file:
                file.write(jpeg)


def _jpegs(video: Video, short_side: int) -> list[bytes]:
    """Encode all pictures in memory, so that an OSError can only come from writing."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    frames = (cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in scaled_frames(video, short_side))
    return [cv2.imencode(".jpg", frame, options)[1].tobytes() for frame in frames]
