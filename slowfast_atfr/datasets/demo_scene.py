"""Synthetic videos of one object that moves or is static, for the demo data set.

A scene has a textured background with static objects, one textured object that does what the class says, and a little
camera noise. The object moves in one or two stretches of the video.
"""

from dataclasses import dataclass

import cv2
import numpy as np

# Templates in the words of Something-Something, by class.
TEMPLATES = {
    "left": "Moving [something] to the left",
    "right": "Moving [something] to the right",
    "up": "Moving [something] up",
    "down": "Moving [something] down",
    "closer": "Moving [something] closer to the camera",
    "away": "Moving [something] away from the camera",
    "turning": "Turning [something]",
    "still": "Holding [something] still",
}
MOVING = (0.25, 0.5)  # smallest and largest share of frames in which the object moves
_PATCH = 80  # side in pixels of an object's picture before it is placed in the frame
_SHIFT = 4  # cv2's coordinates are in 1/16 pixels


@dataclass(frozen=True)
class Pose:
    """The object's pose in each frame: (T,) arrays. x, y in fractions of the frame, radius in fractions of its short
    side, angle in degrees."""

    x: np.ndarray
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray


def draw_video(action: str, rng: np.random.Generator, moving: tuple[float, float] = MOVING) -> tuple[np.ndarray, str]:
    """Draw a video of an action, a key of TEMPLATES.

    Args:
        moving: smallest and largest share of frames in which the object moves.
    Returns:
        (T, H, W, 3) uint8 RGB of 40 to 70 frames, the short side 96 to 128 pixels, both sides even; and the object's
        name.
    """
    short, num_frames = 2 * int(rng.integers(48, 65)), int(rng.integers(40, 71))
    long = 2 * round(short * rng.uniform(1.0, 1.4) / 2)
    height, width = (short, long) if rng.random() < 0.75 else (long, short)
    pose = draw_pose(action, num_frames, rng, moving)
    background, hue = _background(height, width, rng)
    thing, name = _thing((hue + rng.uniform(60, 120)) % 180, rng)
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    for t, frame in enumerate(frames):
        picture = _placed(background, thing, pose.x[t], pose.y[t], pose.radius[t], pose.angle[t])
        frame[...] = np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255)
    return frames, name


def draw_pose(action: str, num_frames: int, rng: np.random.Generator, moving: tuple[float, float] = MOVING) -> Pose:
    """Draw a random motion of an action, a key of TEMPLATES; moving: as for draw_video."""
    progress = draw_progress(num_frames, rng, moving)
    centre, spin = rng.uniform(0.38, 0.62, 2), rng.uniform(0, 360)
    start = end = np.array([*centre, rng.uniform(0.13, 0.2), spin])  # x, y, radius, angle
    near, far = rng.uniform(0.2, 0.34), rng.uniform(0.66, 0.8)
    if action in ("left", "right", "up", "down"):
        axis = 0 if action in ("left", "right") else 1
        start, end = start.copy(), end.copy()
        start[axis], end[axis] = (far, near) if action in ("left", "up") else (near, far)
    elif action in ("closer", "away"):
        small, large = rng.uniform(0.09, 0.12), rng.uniform(0.22, 0.3)
        start, end = start.copy(), end.copy()
        start[2], end[2] = (small, large) if action == "closer" else (large, small)
    elif action == "turning":
        end = start + [0, 0, 0, rng.choice([-1, 1]) * rng.uniform(90, 200)]
    if action != "still":  # hands do not move along one axis only
        end = end + [*rng.uniform(-0.03, 0.03, 2), rng.uniform(-0.01, 0.01), rng.uniform(-10, 10)]
    return Pose(*(start[:, None] + (end - start)[:, None] * progress))


def draw_progress(num_frames: int, rng: np.random.Generator, moving: tuple[float, float] = MOVING) -> np.ndarray:
    """Draw the progress of a motion, (num_frames,) from 0 to 1, rising in one or two stretches between static ones.

    moving: smallest and largest share of frames in these stretches.
    """
    moves = int(rng.integers(1, 3))
    stretches = _split(round(num_frames * rng.uniform(*moving)), moves, rng)
    still = _split(num_frames - sum(stretches), moves + 1, rng)
    steps = [np.zeros(still[0])]
    for frames, rest in zip(stretches, still[1:], strict=True):
        steps += [np.sin((np.arange(frames) + 0.5) / frames * np.pi), np.zeros(rest)]  # speeds up, slows down
    speed = np.concatenate(steps)
    return np.cumsum(speed) / speed.sum()


def _split(total: int, parts: int, rng: np.random.Generator) -> list[int]:
    """Split `total` into `parts` random numbers, each at least half of an equal share."""
    least = total // (2 * parts)
    cuts = np.sort(rng.integers(0, total - least * parts + 1, parts - 1))
    return [int(n) + least for n in np.diff([0, *cuts, total - least * parts])]


def _background(height: int, width: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Draw (H, W, 3) float32 RGB with a few small objects; return it and its hue (0 to 180)."""
    hue = rng.uniform(0, 180)
    texture = np.zeros((height, width), np.float32)
    for cells, weight in ((3, 0.5), (8, 0.3), (24, 0.2)):
        noise = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        texture += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    dark, light = _rgb(hue, 80, rng.uniform(50, 90)), _rgb(hue + 15, 60, rng.uniform(140, 190))
    picture = dark + (light - dark) * (0.5 + 0.5 * texture[:, :, None])
    for _ in range(int(rng.integers(1, 4))):
        thing, _ = _thing(hue + rng.uniform(-25, 25), rng)
        picture = _placed(picture, thing, *rng.uniform(0.05, 0.95, 2), rng.uniform(0.04, 0.08), rng.uniform(0, 360))
    return picture.astype(np.float32), hue


def _thing(hue: float, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Draw a striped or spotted shape, (_PATCH, _PATCH, 4) float32 RGBA (premultiplied); return it and its name."""
    name = str(rng.choice(list(_SHAPES)))
    opacity = np.zeros((_PATCH, _PATCH), np.uint8)
    _fill(opacity, _SHAPES[name] * 0.96, 255)
    colours = np.empty((_PATCH, _PATCH, 3), np.uint8)
    colours[...] = _rgb(hue, 200, rng.uniform(190, 255))
    mark = _rgb(hue + rng.uniform(30, 60), rng.uniform(60, 220), rng.uniform(40, 110)).tolist()
    if rng.random() < 0.5:
        for offset in np.arange(-1, 1, rng.uniform(0.45, 0.7)):
            _fill(colours, np.array([[-1, offset], [1, offset], [1, offset + 0.2], [-1, offset + 0.2]]), mark)
    else:
        for spot in rng.uniform(-0.6, 0.6, (int(rng.integers(2, 5)), 2)):
            _fill(colours, _SHAPES["disc"] * rng.uniform(0.12, 0.25) + spot, mark)
    alpha = opacity[:, :, None].astype(np.float32) / 255
    return cv2.GaussianBlur(np.dstack([colours * alpha, alpha]), (0, 0), 1.0), name


def _placed(picture: np.ndarray, thing: np.ndarray, x: float, y: float, radius: float, angle: float) -> np.ndarray:
    """Return a (H, W, 3) float32 picture with an object on it; the pose is in the units of `Pose`."""
    height, width = picture.shape[:2]
    scale = 2 * radius * min(height, width) / _PATCH
    matrix = cv2.getRotationMatrix2D(((_PATCH - 1) / 2, (_PATCH - 1) / 2), angle, scale)
    matrix[:, 2] += (x * width - _PATCH / 2, y * height - _PATCH / 2)
    layer = cv2.warpAffine(thing, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return picture * (1 - layer[:, :, 3:]) + layer[:, :, :3]


def _fill(picture: np.ndarray, points: np.ndarray, colour: int | list[int]) -> None:
    """Fill a polygon, (n, 2) between -1 and 1, with antialiased edges."""
    pixels = (points + 1) / 2 * (_PATCH - 1) * 2**_SHIFT
    cv2.fillPoly(picture, [np.round(pixels).astype(np.int32)], colour, cv2.LINE_AA, _SHIFT)


def _polygon(corners: int, inner: float = 1.0) -> np.ndarray:
    """Return the (n, 2) corners of a regular polygon on the unit circle; with `inner` below 1 of a star."""
    turn = np.arange(corners) * 2 * np.pi / corners
    reach = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([np.cos(turn) * reach, np.sin(turn) * reach], axis=1)


_SHAPES = {
    "disc": _polygon(64),
    "triangle": _polygon(3),
    "square": _polygon(4),
    "hexagon": _polygon(6),
    "star": _polygon(10, inner=0.5),
    "flower": _polygon(16, inner=0.7),
    "bar": _polygon(4) * (1.0, 0.4),
    "pebble": _polygon(64) * (1.0, 0.65),
}


def _rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return (3,) float32 RGB of a colour in OpenCV's units: hue to 180, saturation and value to 255."""
    pixel = np.array([[[hue % 180, saturation, value]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)
