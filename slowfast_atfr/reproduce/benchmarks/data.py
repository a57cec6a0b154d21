"""Measure data loading in one process and one thread: clips, test videos, augmentations, memory of a worker."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from torch.nn.functional import interpolate

from slowfast_atfr.analysis.timing import Figure, in_turn, ratio
from slowfast_atfr.config import get_cfg
from slowfast_atfr.datasets import build_dataset
from slowfast_atfr.datasets.decoder import open_video
from slowfast_atfr.datasets.decoding.video_file import VideoFile
from slowfast_atfr.datasets.transform import cut, view_windows
from slowfast_atfr.datasets.video_dataset import VideoDataset
from slowfast_atfr.models.inputs import normalize
from slowfast_atfr.reproduce.benchmarks.drawn_videos import FPS, write_drawn_video
from slowfast_atfr.reproduce.benchmarks.worker_memory import growth, worker_memory

SECONDS = 10  # of a video
KEY_FRAMES = (250, 32)  # largest distance in frames: x264's default, and a file made for random clips
NUM_VIDEOS = 4
NUM_CLIPS = 8  # per task
SHORT_SECONDS = 3  # of a video for the memory of containers
SHORT_SETS = {
    "AVI": [".avi"],
    "transport streams": [".ts"],
    "a mix of containers": [".avi", ".ts", ".mpg", ".h264", ".mkv", ".mp4"],
}
WARM_UP, MEASURED = 200, 2000  # clips before and during the measurement of memory
CPU = torch.device("cpu")


def benchmark_data(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """Measure all figures; `configs` and `device` are not used."""
    with tempfile.TemporaryDirectory() as folder, _one_thread():
        figures = []
        for spacing in KEY_FRAMES:
            cfg = write_data(Path(folder) / str(spacing), key_frame_every=spacing)
            figures += [*_clips_over_plain(cfg, rounds, spacing), *_views_together(cfg, rounds, spacing)]
        figures += _containers(Path(folder), rounds)
        return [*figures, *_augmentations(cfg, rounds), *_memory(cfg, Path(folder))]


def write_data(
    folder: Path,
    *,
    key_frame_every: int,
    seconds: float = SECONDS,
    videos: int = NUM_VIDEOS,
    endings: Sequence[str] = (".mp4",),
    b_frames: int = 0,
) -> CfgNode:
    """Write videos and their lists; return a config that reads clips of 32 frames, 2 apart, at 224, and views at 256.

    endings: of the names of videos, in turn; they decide the container, see `write_drawn_video`.
    """
    folder.mkdir()
    names = [f"{number}{endings[number % len(endings)]}" for number in range(videos)]
    how = {"seconds": seconds, "key_frame_every": key_frame_every, "b_frames": b_frames}
    for seed, name in enumerate(names):
        write_drawn_video(folder / name, seed=seed, **how)
    for split in ("train", "val"):
        (folder / f"{split}.csv").write_text("".join(f"{name} 0\n" for name in names), encoding="utf-8")
    cfg = get_cfg()
    cfg.DATA.PATH_TO_DATA_DIR = cfg.DATA.PATH_PREFIX = str(folder)
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.TARGET_FPS = 32, 2, FPS
    return cfg


def _clips_over_plain(cfg: CfgNode, rounds: int, spacing: int) -> list[Figure]:
    dataset = build_dataset("kinetics", cfg, "train")
    data = cfg.DATA
    draws = partial(map, np.random.default_rng, range(NUM_CLIPS))  # one window per clip
    paths = _paths(dataset)
    tasks = {
        "ours": partial(_read_clips, dataset),
        "plain": lambda: [plain_clip(path, cfg, rng) for path, rng in zip(paths, draws(), strict=True)],
        "decoded": lambda: [
            sum(1 for _ in plain_frames(path, cfg, rng)) for path, rng in zip(paths, draws(), strict=True)
        ],
        "floats": lambda: [normalize(clip[None], data.MEAN, data.STD) for clip in _read_clips(dataset)],
    }
    seconds = in_turn(tasks, rounds=rounds, device=CPU, title="clips")
    what = f"{NUM_CLIPS} clips, a key frame every {spacing} frames"
    return [
        ratio(f"training clips/s over a plain pipeline's, {what}", seconds["plain"], seconds["ours"], 3, least=True),
        ratio(f"the same, ours normalised in this process, {what}", seconds["plain"], seconds["floats"]),
        ratio(f"time of the plain pipeline's decoding alone over ours, {what}", seconds["decoded"], seconds["ours"]),
    ]


def plain_clip(path: str, cfg: CfgNode, rng: np.random.Generator) -> Tensor:
    """Read a training clip in the common way: (3, T, size, size) float32, normalised.

    Seek, decode the whole window to RGB, take every SAMPLING_RATE-th frame; then in floats normalise, resize whole
    frames, crop, mirror.
    """
    data = cfg.DATA
    frames = [frame.to_ndarray(format="rgb24") for frame in plain_frames(path, cfg, rng)]
    clip = torch.from_numpy(np.stack(frames[:: data.SAMPLING_RATE])).permute(0, 3, 1, 2).float() / 255
    clip = (clip - torch.tensor(data.MEAN).view(3, 1, 1)) / torch.tensor(data.STD).view(3, 1, 1)
    scale = rng.integers(*data.TRAIN_JITTER_SCALES, endpoint=True) / min(clip.shape[-2:])
    sides = [round(side * scale) for side in clip.shape[-2:]]
    clip = interpolate(clip, sides, mode="bilinear", align_corners=False)
    size = data.TRAIN_CROP_SIZE
    top, left = (int(rng.integers(0, side - size + 1)) for side in sides)
    clip = clip[..., top : top + size, left : left + size]
    clip = clip.flip(-1) if rng.random() < 0.5 else clip
    return clip.permute(1, 0, 2, 3).contiguous()


def plain_frames(path: str, cfg: CfgNode, rng: np.random.Generator) -> Iterator[av.VideoFrame]:
    """Yield the frames of a random window, decoded from the key frame before it."""
    window = cfg.DATA.NUM_FRAMES * cfg.DATA.SAMPLING_RATE
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        first = int(rng.integers(0, stream.frames - window + 1))
        start = int(first / stream.average_rate / stream.time_base)
        container.seek(start, stream=stream)
        yield from islice((frame for frame in container.decode(stream) if frame.pts >= start), window)


def _containers(folder: Path, rounds: int) -> list[Figure]:
    """Compare AVI, as in UCF101 and HMDB51, with MP4 with the same key frames."""
    ways = {"MP4": (".mp4", 0), "AVI": (".avi", 0), "AVI with B-frames": (".avi", 2)}
    sets = {
        name: write_data(folder / name, key_frame_every=KEY_FRAMES[0], endings=[ending], b_frames=b_frames)
        for name, (ending, b_frames) in ways.items()
    }
    tasks = {name: partial(_read_clips, build_dataset("kinetics", cfg, "train")) for name, cfg in sets.items()}
    seconds = in_turn(tasks, rounds=rounds, device=CPU, title="containers")
    mp4 = seconds.pop("MP4")
    what = f"{NUM_CLIPS} clips, a key frame every {KEY_FRAMES[0]} frames"
    return [
        ratio(f"training clips/s from {name} over those from MP4, {what}", mp4, each) for name, each in seconds.items()
    ]


def _views_together(cfg: CfgNode, rounds: int, spacing: int) -> list[Figure]:
    dataset = build_dataset("kinetics", cfg, "test")
    tasks = {"together": lambda: dataset[0], "apart": lambda: views_apart(dataset, 0)}
    frames = {}
    for name, task in tasks.items():
        with counted_frames() as count:
            task()
        frames[name] = count[0]
    seconds = in_turn(tasks, rounds=rounds, device=CPU, title="views")
    what = f"{len(dataset[0].frames)} views of a video, a key frame every {spacing} frames"
    note = f"{frames['apart']} over {frames['together']} decoded frames"
    fewer = (frames["apart"] / frames["together"],)
    return [
        Figure(f"frames decoded view by view over ours, {what}", fewer, target=8, note=note, least=True),
        ratio(f"time view by view over ours, {what}", seconds["apart"], seconds["together"], 5, least=True),
    ]


def views_apart(dataset: VideoDataset, index: int) -> list[np.ndarray]:
    """Read the views of a test video one by one, with the same code: (T, size, size, 3) each."""
    path, views = dataset.path(index), []
    with open_video(path) as video:
        clips = range(len(dataset.view_indices(video)))
    for clip in clips:
        for window in view_windows(dataset.cfg):
            with open_video(path) as video:
                views.append(video.read(dataset.view_indices(video)[clip], partial(cut, windows=[window]))[:, 0])
    return views


@contextmanager
def counted_frames() -> Iterator[list[int]]:
    """A list whose only entry counts the frames that PyAV decodes for our readers inside the block."""
    count, decode = [0], VideoFile.decode

    def counting(*args, **kwargs) -> list[av.VideoFrame]:
        frames = decode(*args, **kwargs)
        count[0] += len(frames)
        return frames

    VideoFile.decode = counting
    try:
        yield count
    finally:
        VideoFile.decode = decode


def _augmentations(cfg: CfgNode, rounds: int) -> list[Figure]:
    policy = "rand-m7-n4-mstd0.5-inc1"
    quiet = {"AUG.ENABLE": True, "AUG.AA_TYPE": "", "AUG.COLOR_JITTER": 0.0, "AUG.RE_PROB": 0.0}
    relative = {"DATA.TRAIN_JITTER_SCALES_RELATIVE": [0.08, 1.0], "DATA.TRAIN_JITTER_ASPECT_RELATIVE": [0.75, 1.3333]}
    transformers = quiet | relative | {"AUG.AA_TYPE": policy, "AUG.RE_PROB": 0.25}  # PySlowFast's recipe for MViT
    settings = {
        "plain": {},
        "random resized crop": relative,
        "colour jitter": quiet | {"AUG.COLOR_JITTER": 0.4},
        policy: quiet | {"AUG.AA_TYPE": policy},
        "random erasing of every clip": quiet | {"AUG.RE_PROB": 1.0},
        "MViT's recipe": transformers,
        "MViT's recipe, two samples of each": transformers | {"AUG.NUM_SAMPLE": 2},
    }
    tasks = {
        name: partial(_read_clips, build_dataset("kinetics", _with(cfg, s), "train")) for name, s in settings.items()
    }
    seconds = in_turn(tasks, rounds=rounds, device=CPU, title="augmentations")
    plain = seconds.pop("plain")
    return [ratio(f"{name}, over plain clips", times, plain) for name, times in seconds.items()]


def _memory(cfg: CfgNode, folder: Path) -> list[Figure]:
    everything = {
        "AUG.ENABLE": True,
        "AUG.NUM_SAMPLE": 2,
        "AUG.RE_PROB": 1.0,
        "DATA.TRAIN_JITTER_SCALES_RELATIVE": [0.08, 1.0],
        "DATA.TRAIN_JITTER_ASPECT_RELATIVE": [0.75, 1.3333],
    }
    sets = {"plain clips": cfg, "augmented clips": _with(cfg, everything)}
    for name, endings in SHORT_SETS.items():
        how = {"key_frame_every": KEY_FRAMES[1], "seconds": SHORT_SECONDS, "videos": max(2, len(endings))}
        sets[f"clips from {name}"] = write_data(folder / f"short {name}", endings=endings, **how)
    figures = []
    for name, each in sets.items():
        bytes_ = worker_memory(_with(each, {"DATA.NUM_FRAMES": 8}), warm_up=WARM_UP, measured=MEASURED)
        note = f"{WARM_UP} before them; {bytes_.min() / 2**20:.0f} to {bytes_.max() / 2**20:.0f} MiB"
        what = f"growth of a worker's memory over {MEASURED} {name}"
        figures.append(Figure(what, (growth(bytes_),), "%", 5, note))
    return figures


def _read_clips(dataset: VideoDataset) -> list[Tensor]:
    """Read the frames of NUM_CLIPS training clips, all samples of each."""
    items = [dataset[number % len(dataset), number] for number in range(NUM_CLIPS)]
    return [clip.frames for item in items for clip in (item if isinstance(item, tuple) else (item,))]


def _paths(dataset: VideoDataset) -> list[str]:
    return [dataset.path(number % len(dataset)) for number in range(NUM_CLIPS)]


def _with(cfg: CfgNode, settings: dict[str, object]) -> CfgNode:
    cfg = cfg.clone()
    for key, value in settings.items():
        section, leaf = key.split(".")
        cfg[section][leaf] = value
    return cfg


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch and OpenCV in one thread each, as in a data worker."""
    threads: list[tuple[Callable[[int], None], int]] = [
        (torch.set_num_threads, torch.get_num_threads()),
        (cv2.setNumThreads, cv2.getNumThreads()),
    ]
    for set_threads, _ in threads:
        set_threads(1)
    try:
        yield
    finally:
        for set_threads, number in threads:
            set_threads(number)
