"""A small synthetic data set of video files in Something-Something's format, written in a minute."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
from tqdm import tqdm

from slowfast_atfr.datasets.demo_scene import MOVING, TEMPLATES, draw_video

FPS = 12  # as in Something-Something
_MARKER = "demo.json"  # written last, so its folder is complete
_VERSION = 1  # of the drawings
_CLIPS_SEED = 2026
_CLIPS = {  # videos of write_demo_clips: action, and share of frames with motion
    "still": ("still", MOVING),
    "now_and_then": ("right", MOVING),
    "throughout": ("right", (1.0, 1.0)),
}


def write_demo_dataset(
    folder: str | os.PathLike,
    *,
    videos_per_class_train: int = 20,
    videos_per_class_val: int = 8,
    seed: int = 0,
) -> Path:
    """Write the data set, unless the folder has it.

    To read it: TRAIN.DATASET and TEST.DATASET ssv2, DATA.PATH_TO_DATA_DIR the folder, DATA.PATH_PREFIX its
    subfolder `videos`, MODEL.NUM_CLASSES 8, and DATA.RANDOM_FLIP False, since mirroring swaps left and right.

    Args:
        folder: receives something-something-v2-{labels,train,validation}.json and videos/{id}.mp4 (H.264).
        videos_per_class_train, videos_per_class_val: at least 1.
        seed: of the videos' content.
    Returns:
        the folder.
    Raises:
        ValueError: if a class would have no videos.
    """
    if min(videos_per_class_train, videos_per_class_val) < 1:
        raise ValueError(f"{videos_per_class_train} and {videos_per_class_val} videos a class; at least 1 is needed")
    folder = Path(folder)
    made_with = {
        "version": _VERSION,
        "videos_per_class_train": videos_per_class_train,
        "videos_per_class_val": videos_per_class_val,
        "seed": seed,
    }
    marker = folder / _MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8") == _json(made_with):
        return folder
    marker.unlink(missing_ok=True)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    wanted = [
        (part, action)
        for part, count in (("train", videos_per_class_train), ("validation", videos_per_class_val))
        for _ in range(count)
        for action in TEMPLATES
    ]

    def make(number: int) -> dict[str, Any]:
        return _write_entry(folder / "videos", number, wanted[number][1], seed)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        videos = pool.map(make, range(len(wanted)))
        try:
            entries = list(tqdm(videos, total=len(wanted), desc="demo videos", unit="video"))
        finally:
            pool.shutdown(cancel_futures=True)
    labels = {_plain(template): str(label) for label, template in enumerate(TEMPLATES.values())}
    _write_json(folder / "something-something-v2-labels.json", labels)
    for part in ("train", "validation"):
        chosen = [entry for entry, (of, _) in zip(entries, wanted, strict=True) if of == part]
        _write_json(folder / f"something-something-v2-{part}.json", chosen)
    _write_json(marker, made_with)
    return folder


def write_demo_clips(folder: str | os.PathLike) -> dict[str, Path]:
    """Write three videos that are not in the data set: one static, one that moves now and then, one throughout.

    Args:
        folder: receives still.mp4, now_and_then.mp4 and throughout.mp4.
    Returns:
        their paths, by name.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.mp4" for name in _CLIPS}
    for name, (action, moving) in _CLIPS.items():
        frames, _ = draw_video(action, np.random.default_rng(_CLIPS_SEED), moving)
        write_video(paths[name], frames)
    return paths


def write_video(path: str | os.PathLike, frames: np.ndarray) -> None:
    """Write (T, H, W, 3) uint8 RGB, even H and W, as H.264 in MP4 with a key frame every 30 frames."""
    options = {"crf": "24", "preset": "veryfast", "g": "30", "bf": "2", "threads": "1"}
    # x264's look-ahead reads uninitialised memory, which changes the bytes of the file each time.
    options |= {"rc-lookahead": "0", "x264-params": "mbtree=0:b-adapt=0:scenecut=0:weightp=0"}
    with av.open(os.fspath(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _write_entry(folder: Path, number: int, action: str, seed: int) -> dict[str, Any]:
    """Write a video; return its entry in the list."""
    frames, thing = draw_video(action, np.random.default_rng((seed, number)))
    write_video(folder / f"{number + 1}.mp4", frames)
    template = TEMPLATES[action]
    label = template.replace("[something]", f"a {thing}").lower()
    return {"id": str(number + 1), "label": label, "template": template, "placeholders": [f"a {thing}"]}


def _plain(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _write_json(path: Path, data: Any) -> None:
    path.write_text(_json(data), encoding="utf-8")


def _json(data: Any) -> str:
    return json.dumps(data, indent=1)
