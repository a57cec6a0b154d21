"""Videos as costly to decode as real ones: a textured scene, a moving camera, moving things, and sensor noise."""

from pathlib import Path

import av
import cv2
import numpy as np

SIZE = (256, 340)  # height and width in pixels, as common for Kinetics
FPS = 30
_RATE = {"b": "600k"}  # bits per second, about as much as x264 uses
CODECS = {".avi": ("mpeg4", _RATE), ".mpg": ("mpeg1video", {**_RATE, "bf": "2"})}
_MARGIN = 120  # pixels that the camera may move in each direction


def write_drawn_video(path: Path, *, seconds: float, key_frame_every: int, seed: int, b_frames: int = 0) -> None:
    """Write a video, SIZE at FPS: by the ending of its name MPEG-4 part 2 in AVI, MPEG-1 in a program stream, or H.264.

    Args:
        key_frame_every: most frames from one key frame to the next; 250 is x264's default.
        b_frames: of AVI, between two other frames; x264 chooses those of H.264, and MPEG-1 has two.
    """
    codec, more = CODECS.get(path.suffix, ("libx264", {}))
    options = {"g": str(key_frame_every), "threads": "1", **more, **({"bf": str(b_frames)} if b_frames else {})}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for frame in drawn_frames(round(seconds * FPS), seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def drawn_frames(count: int, seed: int):
    """Yield (H, W, 3) uint8 RGB frames, a function of the seed."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    scene = _texture(height + 2 * _MARGIN, width + 2 * _MARGIN, rng)
    things = [_texture(side, side, rng) for side in rng.integers(40, 110, 5).tolist()]
    paths = [_path(count, rng) for _ in things]
    camera = _path(count, rng) * _MARGIN
    for t in range(count):
        left, top = camera[t] + _MARGIN
        matrix = np.array([[1, 0, -left], [0, 1, -top]])
        frame = cv2.warpAffine(scene, matrix, (width, height), flags=cv2.INTER_LINEAR)
        for thing, path in zip(things, paths, strict=True):
            x, y = ((path[t] + 1) / 2 * (width - len(thing), height - len(thing))).astype(int)
            frame[y : y + len(thing), x : x + len(thing)] = thing
        noise = rng.normal(0, 2.5, (height, width, 1))
        yield np.clip(frame + noise, 0, 255).astype(np.uint8)


def _texture(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """(height, width, 3) float32 of 0 to 255: noise of several sizes."""
    out = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((4, 60), (12, 40), (40, 30), (110, 20)):
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        out += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(out + rng.uniform(80, 170, 3).astype(np.float32), 0, 255)


def _path(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) x and y between -1 and 1: a smooth path."""
    t = np.arange(count)[:, None] / FPS
    speed, phase = rng.uniform(0.15, 0.6, (2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))
    return np.sin(2 * np.pi * speed * t[..., None] + phase).mean(2)
