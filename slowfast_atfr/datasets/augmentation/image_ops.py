"""The operations of RandAugment and colour jitter: functions of a (H, W, 3) uint8 RGB frame that return a new one.

The definitions are Pillow's, as in timm and PySlowFast. Pointwise operations are tables of 256 entries; mixtures of
channels or neighbours are one matrix, rounded once where Pillow rounds twice and clips.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

GREY = (128, 128, 128)  # fill of empty pixels in moved frames
LUMA = np.array([0.299, 0.587, 0.114])  # of R, G, B in the grey of ITU-R 601
_VALUES = np.arange(256)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def by_table(frame: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Look up every value. table: (256,), or (256, 3) with a column for each channel; clipped to 0..255, truncated."""
    table = np.clip(table, 0, 255).astype(np.uint8)
    return cv2.LUT(frame, table if table.ndim == 1 else table[None])


def invert(frame: np.ndarray) -> np.ndarray:
    """255 - value."""
    return by_table(frame, 255 - _VALUES)


def solarize(frame: np.ndarray, threshold: float) -> np.ndarray:
    """Invert values from the threshold on."""
    return by_table(frame, np.where(threshold > _VALUES, _VALUES, 255 - _VALUES))


def solarize_add(frame: np.ndarray, added: float) -> np.ndarray:
    """Add to values below 128."""
    return by_table(frame, np.where(_VALUES < 128, _VALUES + added, _VALUES))


def posterize(frame: np.ndarray, bits: float) -> np.ndarray:
    """Keep the highest bits of every value."""
    return by_table(frame, _VALUES & (0xFF << (8 - int(bits))))


def brightness(frame: np.ndarray, factor: float) -> np.ndarray:
    """0 is black, 1 the frame."""
    return by_table(frame, _VALUES * factor)


def contrast(frame: np.ndarray, factor: float) -> np.ndarray:
    """0 is the frame's mean grey, 1 the frame."""
    grey = math.floor(float(np.dot(cv2.mean(frame)[:3], LUMA)) + 0.5)
    return by_table(frame, grey + factor * (_VALUES - grey))


def saturation(frame: np.ndarray, factor: float) -> np.ndarray:
    """0 is the frame in grey, 1 the frame."""
    return cv2.transform(frame, factor * np.eye(3) + (1 - factor) * np.tile(LUMA, (3, 1)))


def sharpness(frame: np.ndarray, factor: float) -> np.ndarray:
    """0 is the smoothed frame, 1 the frame. The outermost pixels do not change."""
    kernel = (1 - factor) * _SMOOTH
    kernel[1, 1] += factor
    out = cv2.filter2D(frame, -1, kernel)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        out[edge] = frame[edge]
    return out


def autocontrast(frame: np.ndarray) -> np.ndarray:
    """Stretch every channel to 0..255, except one with a single value."""
    tables = []
    for channel in cv2.split(frame):
        low, high = cv2.minMaxLoc(channel)[:2]
        tables.append((_VALUES - low) * 255 / (high - low) if high > low else _VALUES)
    return by_table(frame, np.stack(tables, axis=1))


def equalize(frame: np.ndarray) -> np.ndarray:
    """Equalise the histogram of every channel."""
    tables = []
    for index in range(3):
        counts = cv2.calcHist([frame], [index], None, [256], [0, 256]).ravel().astype(np.int64)
        present = counts[counts > 0]
        step = (present.sum() - present[-1]) // 255
        before = np.cumsum(counts) - counts
        tables.append((before + step // 2) // step if step else _VALUES)
    return by_table(frame, np.stack(tables, axis=1))


def affine(frame: np.ndarray, matrix: np.ndarray, interpolation: int) -> np.ndarray:
    """Return a frame of the same size, whose point p shows the point matrix @ (p, 1) of this one, or GREY outside.

    Args:
        matrix: (2, 3), in pixels; the centre of the first pixel is at 0.5.
        interpolation: a flag of OpenCV, such as cv2.INTER_CUBIC.
    """
    linear = matrix[:, :2]
    shift = matrix[:, 2] + linear @ (0.5, 0.5) - 0.5  # the centre of OpenCV's first pixel is at 0
    height, width = frame.shape[:2]
    flags = interpolation | cv2.WARP_INVERSE_MAP
    moved = np.column_stack([linear, shift])
    return cv2.warpAffine(frame, moved, (width, height), flags=flags, borderValue=GREY)


def shear_x(frame: np.ndarray, factor: float, interpolation: int) -> np.ndarray:
    """Move each row sideways, by `factor` pixels more than the previous one."""
    return affine(frame, np.array([[1, factor, 0], [0, 1, 0]]), interpolation)


def shear_y(frame: np.ndarray, factor: float, interpolation: int) -> np.ndarray:
    """Move each column vertically, by `factor` pixels more than the previous one."""
    return affine(frame, np.array([[1, 0, 0], [factor, 1, 0]]), interpolation)


def translate_x(frame: np.ndarray, share: float, interpolation: int) -> np.ndarray:
    """Move to the left by a share of the width."""
    return affine(frame, np.array([[1, 0, share * frame.shape[1]], [0, 1, 0]]), interpolation)


def translate_y(frame: np.ndarray, share: float, interpolation: int) -> np.ndarray:
    """Move up by a share of the height."""
    return affine(frame, np.array([[1, 0, 0], [0, 1, share * frame.shape[0]]]), interpolation)


def rotate(frame: np.ndarray, degrees: float, interpolation: int) -> np.ndarray:
    """Rotate anticlockwise about the centre."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([frame.shape[1], frame.shape[0]]) / 2
    return affine(frame, np.column_stack([turn, middle - turn @ middle]), interpolation)


LEVELLESS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "autocontrast": autocontrast,
    "equalize": equalize,
    "invert": invert,
}
VALUED: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "brightness": brightness,
    "contrast": contrast,
    "posterize": posterize,
    "saturation": saturation,
    "sharpness": sharpness,
    "solarize": solarize,
    "solarize_add": solarize_add,
}
MOVING: dict[str, Callable[[np.ndarray, float, int], np.ndarray]] = {
    "rotate": rotate,
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
}
