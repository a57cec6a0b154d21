"""From a decoded picture to upright RGB."""

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.reformatter import VideoReformatter

_ONE_THREAD = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}  # before, there was but one
_OF_BT601 = 5  # swscale's number. Which one RGB has changes nothing, but without it PyAV below 17 takes all for BT.601


class ToRgb:
    """The frames of one video as upright RGB. A frame's side data are asked for once, and where its angle changes."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._angle: int | None = None  # that `_matrix` goes with; None before the first frame
        self._matrix: np.ndarray | None = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB of any pixel format, by the matrix and range that the frame is marked with, upright.

        Unmarked is BT.601, limited range (full where the pixel format says so, as JPEG's): FFmpeg's rule.

        Raises:
            ValueError: if the file wants its pictures turned by an odd angle.
        """
        rgb = self._reformatter.reformat(
            frame, format="rgb24", dst_colorspace=_OF_BT601, src_color_range=int(frame.color_range), **_ONE_THREAD
        ).to_ndarray()
        if frame.rotation != self._angle:
            self._angle, self._matrix = frame.rotation, display_matrix(frame)
        return rgb if self._matrix is None else set_upright(rgb, self._matrix)


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """(9,) int32, how a file wants its pictures turned; None for as they are. `set_upright` says what it means."""
    # Not `frame.side_data`: the frame would keep what it returns, which keeps the frame, and so the decoder's pictures
    # would stay in memory until the garbage collector finds them.
    matrix = SideDataContainer(frame).get("DISPLAYMATRIX")
    return None if matrix is None else np.frombuffer(bytes(matrix), np.int32)


def _without_name(cls: type[Type], value: int) -> Type:
    """A type of side data that FFmpeg knows and this PyAV does not, which refuses all side data of a frame over it."""
    nameless = object.__new__(cls)
    nameless._name_, nameless._value_ = f"TYPE_{value}", value
    return nameless


Type._missing_ = classmethod(_without_name)


def is_mirrored(matrix: np.ndarray) -> bool:
    """Whether a display matrix does more than turn."""
    a, b, c, d = matrix[[0, 1, 3, 4]].astype(float)
    return a * d - b * c < 0


def set_upright(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A picture turned and mirrored as its file says.

    Args:
        picture: (H, W, 3).
        matrix: (9,) of ISO 14496-12, rows (a, b, u), (c, d, v), (x, y, w): column x and row y of the stored picture
            are shown at column a x + c y and row b x + d y.
    Raises:
        ValueError: if it is no quarter turn, with or without a mirror.
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if a and d and not b and not c:
        across, down = a, d
    elif b and c and not a and not d:
        picture, across, down = picture.transpose(1, 0, 2), c, b
    else:
        angle = np.degrees(np.arctan2(b, a))
        raise ValueError(f"it asks to be turned by {angle:.0f} degrees; quarter turns and mirrors can be shown")
    return np.ascontiguousarray(picture[:: np.sign(down), :: np.sign(across)])
