"""Conversion of decoded frames to upright RGB."""

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import VideoReformatter

_ONE_THREAD = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}  # earlier versions use one
_OF_BT601 = 5  # swscale's number. It does not affect RGB, but without it PyAV below 17 assumes BT.601 sources


class ToRgb:
    """Converts the frames of one video to upright RGB. Side data are read when the rotation changes."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._angle: int | None = None  # of `_matrix`; None before the first frame
        self._matrix: np.ndarray | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Return upright (H, W, 3) uint8 RGB of a frame of any pixel format, by its colour matrix and range.

        Unmarked frames are BT.601 with limited range (full for JPEG's pixel formats), as in FFmpeg.

        Raises:
            ValueError: if the rotation is not a multiple of 90 degrees.
        """
        rgb = self._reformatter.reformat(
            frame, format="rgb24", dst_colorspace=_OF_BT601, src_color_range=int(frame.color_range), **_ONE_THREAD
        ).to_ndarray()
        if frame.rotation != self._angle:
            self._angle, self._matrix = frame.rotation, display_matrix(frame)
        return rgb if self._matrix is None else set_upright(rgb, self._matrix)


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """Return a frame's display matrix, (9,) int32, None for none. See `set_upright`."""
    # Not `frame.side_data`, which makes a reference cycle: frames would stay in memory until garbage collection.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")
    return None if matrix is None else np.frombuffer(bytes(matrix), np.int32)


def _without_name(cls: type[Type], value: int) -> Type:
    """Make a member for a type of side data that this PyAV does not know and would raise on."""
    nameless = object.__new__(cls)
    nameless._name_, nameless._value_ = f"TYPE_{value}", value
    return nameless


Type._missing_ = classmethod(_without_name)


def is_mirrored(matrix: np.ndarray) -> bool:
    """Return whether a display matrix mirrors."""
    a, b, c, d = matrix[[0, 1, 3, 4]].astype(float)
    return a * d - b * c < 0


def set_upright(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Rotate and mirror a picture by its display matrix.

    Args:
        picture: (H, W, 3).
        matrix: (9,) of ISO 14496-12, rows (a, b, u), (c, d, v), (x, y, w): column x and row y of the stored picture
            are shown at column a x + c y and row b x + d y.
    Raises:
        ValueError: if the rotation is not a multiple of 90 degrees.
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if a and d and not b and not c:
        across, down = a, d
    elif b and c and not a and not d:
        picture, across, down = picture.transpose(1, 0, 2), c, b
    else:
        angle = np.degrees(np.arctan2(b, a))
        raise ValueError(
            f"its display matrix rotates by {angle:.0f} degrees; only multiples of 90 and mirrors are allowed"
        )
    return np.ascontiguousarray(picture[:: np.sign(down), :: np.sign(across)])
