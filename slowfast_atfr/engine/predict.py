"""What a trained network says of video files that have no label."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.datasets.decoder import DecodeError, use_video
from slowfast_atfr.datasets.items import Views
from slowfast_atfr.datasets.own_videos import OwnVideos
from slowfast_atfr.datasets.transform import pathways
from slowfast_atfr.engine.run import build_for_test, watch_cost
from slowfast_atfr.engine.step import autocast
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.precision import allow_tf32

WINDOWS_AT_ONCE = 8  # of a long video that are decoded together


@dataclass(frozen=True)
class Prediction:
    """What the network says of a video, or of one window of it.

    path: of the video.
    start, end: of what was looked at, in seconds.
    scores: (classes,) mean, or maximum with DATA.ENSEMBLE_METHOD max, over the clips; empty where there is an error.
    num_clips: clips that went through the network.
    cost: means over the clips: gflops_per_clip, and such as active_bins_s2_fast.
    seconds: that the network took for a clip.
    error: why the video could not be read; "" where it could.
    """

    path: str
    start: float = 0.0
    end: float = 0.0
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    num_clips: int = 0
    cost: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


class Predictor:
    """A network with the weights that its config names, ready for video files.

    Args:
        cfg: of the network; TEST.CHECKPOINT_FILE_PATH is the file of weights, or the OUTPUT_DIR of a run. NUM_GPUS 0
            computes on the CPU.
    Raises:
        ConfigError: if there are no weights, or they do not fit.

    >>> predictor = Predictor(load_cfg("x3d.yaml", ["TEST.CHECKPOINT_FILE_PATH", "x3d.pyth"]))      # doctest: +SKIP
    >>> [prediction.scores.argmax() for prediction in predictor(["one.mp4", "two.mp4"])]            # doctest: +SKIP
    """

    def __init__(self, cfg: CfgNode) -> None:
        device = torch.device("cuda" if cfg.NUM_GPUS else "cpu")
        if device.type == "cpu":
            keep_freed_memory()
        allow_tf32(cfg.ALLOW_TF32, device)
        self.cfg, self.device = cfg, device
        self.network, _ = build_for_test(cfg, RankInfo(0, 1, 0, 1, device))

    def __call__(self, paths: Sequence[str], stride: float | None = None) -> Iterator[Prediction]:
        """Predictions in the order of the videos. The next clips are decoded while the network is at work.

        Args:
            paths: of video files.
            stride: None: a prediction for each video, from the test's views of it. Else one for each window: a clip's
                duration, every so many seconds from the start to the end of the video.
        """
        if stride is None:
            whole = OwnVideos(self.cfg, paths)
            tasks = ((path, None, lambda index=index: whole[index]) for index, path in enumerate(paths))
        else:
            tasks = (task for path in paths for task in self._windows(path, stride))
        for path, spans, views in _one_ahead(tasks):
            yield from self._predict(path, spans, views)

    def _windows(self, path: str, stride: float) -> Iterator[tuple[str, np.ndarray | None, Callable[[], Views]]]:
        try:
            frames, fps, window = use_video(path, self._size_of)
        except DecodeError:
            yield path, None, lambda: OwnVideos(self.cfg, [path])[0]  # which tells why
            return
        starts = np.arange(0, max(frames - window, 0) + 1e-6, max(stride * fps, 1))
        for first in range(0, len(starts), WINDOWS_AT_ONCE):
            some = starts[first : first + WINDOWS_AT_ONCE]
            spans = np.stack([some, np.minimum(some + window, frames)], 1) / fps
            yield path, spans, lambda some=some: OwnVideos(self.cfg, [path], some)[0]

    def _size_of(self, video) -> tuple[int, float, float]:
        return video.num_frames, video.fps, OwnVideos(self.cfg, []).window(video)

    def _predict(self, path: str, spans: np.ndarray | None, views: Views) -> Iterator[Prediction]:
        """One prediction for all views, or one for each span of seconds, whose views stand together."""
        if views.frames is None:
            yield Prediction(path, error=views.skipped[0].reason)
            return
        scores, cost, seconds = self._scores(views.frames)
        if spans is None:
            spans = np.array([[0.0, use_video(path, lambda video: video.num_frames / video.fps)]])
        each = len(scores) // len(spans)
        for number, (start, end) in enumerate(spans):
            mine = slice(number * each, (number + 1) * each)
            together = scores[mine].max(0) if self.cfg.DATA.ENSEMBLE_METHOD == "max" else scores[mine].mean(0)
            means = {name: float(values[mine].mean()) for name, values in cost.items()}
            yield Prediction(path, float(start), float(end), together, each, means, seconds)

    @torch.inference_mode()
    def _scores(self, frames: Tensor) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
        """(V, classes) scores of views (V, T, H, W, 3), what each costs, and seconds of a view."""
        scores, costs, start = [], [], time.perf_counter()
        with watch_cost(self.network, self.cfg) as cost, autocast(self.cfg, self.device):
            for some in frames.split(self.cfg.TEST.BATCH_SIZE):
                batch = self.network(pathways(some.to(self.device), self.cfg))
                scores.append(batch.float().cpu().numpy())  # waits for the device
                costs.append(cost.take())
        seconds = (time.perf_counter() - start) / len(frames)
        return np.concatenate(scores), {name: np.concatenate([c[name] for c in costs]) for name in costs[0]}, seconds


def _one_ahead(tasks: Iterable[tuple[str, np.ndarray | None, Callable[[], Views]]]) -> Iterator[tuple]:
    """Each task's result while a thread works on the next one's."""
    with ThreadPoolExecutor(1) as pool:
        waiting: tuple[str, np.ndarray | None, Future] | None = None
        for path, spans, task in tasks:
            coming = path, spans, pool.submit(task)
            if waiting is not None:
                yield *waiting[:2], waiting[2].result()
            waiting = coming
        if waiting is not None:
            yield *waiting[:2], waiting[2].result()
