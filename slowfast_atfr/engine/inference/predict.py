"""Predictions for unlabelled video files."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.datasets.decoder import DecodeError
from slowfast_atfr.datasets.loader import num_workers
from slowfast_atfr.datasets.own_videos import OwnVideos, TimedViews
from slowfast_atfr.engine.run import build_for_test, watch_cost
from slowfast_atfr.engine.step import autocast
from slowfast_atfr.models.inputs import pathways
from slowfast_atfr.utils.ahead import made_ahead
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.precision import allow_tf32


@dataclass(frozen=True)
class Prediction:
    """The prediction for a video, or for a window of it.

    path: of the video.
    start, end: seconds from the first to the end of the last frame seen.
    scores: (classes,) mean over the clips, or maximum with DATA.ENSEMBLE_METHOD max; empty after an error.
    num_clips: number of clips.
    cost: means over the clips: gflops_per_clip, active_bins_s2_fast, ...
    seconds: of the network per clip.
    decoding: seconds of decoding per clip.
    error: why the video could not be read, or "".
    """

    path: str
    start: float = 0.0
    end: float = 0.0
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    num_clips: int = 0
    cost: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    decoding: float = 0.0
    error: str = ""


class Predictor:
    """A trained network that takes video files.

    Args:
        cfg: of the network; TEST.CHECKPOINT_FILE_PATH is the file of weights, or the OUTPUT_DIR of a run. NUM_GPUS 0
            runs on the CPU.
    Raises:
        ConfigError: if there are no weights, or they do not fit.

    >>> predictor = Predictor(load_cfg("x3d.yaml", ["TEST.CHECKPOINT_FILE_PATH", "x3d.pyth"]))      # doctest: +SKIP
    >>> [prediction.scores.argmax() for prediction in predictor(["one.mp4", "two.mp4"])]            # doctest: +SKIP
    """

    def __init__(self, cfg: CfgNode) -> None:
        device = torch.device("cuda" if cfg.NUM_GPUS else "cpu")
        allow_tf32(cfg.ALLOW_TF32, device)
        self.cfg, self.device = cfg, device
        self.network, _ = build_for_test(cfg, RankInfo(0, 1, 0, 1, device))

    def __call__(self, paths: Sequence[str], stride: float | None = None) -> Iterator[Prediction]:
        """Yield predictions in the order of the videos. The next videos are decoded while the network runs.

        DATA_LOADER.NUM_WORKERS threads decode, between one and the number of cores; each holds the clips of a video, or
        WINDOWS_AT_ONCE windows of it.

        Args:
            paths: of video files.
            stride: None: a prediction for each video, from the views of a test. Else one for each window of a clip's
                duration, every `stride` seconds.
        """
        threads = max(1, num_workers(self.cfg.DATA_LOADER.NUM_WORKERS, 1))
        for path, clips, seconds in made_ahead((self._read(path, stride) for path in paths), threads):
            if isinstance(clips, DecodeError):
                yield Prediction(path, error=clips.reason)
            else:
                yield from self._predict(path, clips, seconds / len(clips.views), whole=stride is None)

    def _read(self, path: str, stride: float | None) -> Iterator[tuple[str, TimedViews | DecodeError, float]]:
        """Yield the views of a video, or the error that ends it, with the seconds of decoding."""
        videos = OwnVideos(self.cfg, [path])
        start = time.perf_counter()
        try:
            for clips in [videos.read_views(0)] if stride is None else videos.read_windows(0, stride):
                yield path, clips, time.perf_counter() - start
                start = time.perf_counter()
        except DecodeError as error:
            yield path, error, time.perf_counter() - start

    def _predict(self, path: str, clips: TimedViews, decoding: float, *, whole: bool) -> Iterator[Prediction]:
        """Yield one prediction for all clips, or one for each; views of a clip are adjacent."""
        scores, cost, seconds = self._scores(clips.views)
        spans = [(clips.spans[:, 0].min(), clips.spans[:, 1].max())] if whole else clips.spans
        each = len(scores) // len(spans)
        for number, (start, end) in enumerate(spans):
            mine = slice(number * each, (number + 1) * each)
            together = scores[mine].max(0) if self.cfg.DATA.ENSEMBLE_METHOD == "max" else scores[mine].mean(0)
            means = {name: float(values[mine].mean()) for name, values in cost.items()}
            yield Prediction(path, float(start), float(end), together, each, means, seconds, decoding)

    @torch.inference_mode()
    def _scores(self, frames: Tensor) -> tuple[np.ndarray, dict[str, np.ndarray], float]:
        """Return (V, classes) scores of views (V, T, H, W, 3), the cost of each, and seconds per view."""
        scores, costs, start = [], [], time.perf_counter()
        with watch_cost(self.network, self.cfg) as cost, autocast(self.cfg, self.device):
            for some in frames.split(self.cfg.TEST.BATCH_SIZE):
                batch = self.network(pathways(some.to(self.device), self.cfg))
                scores.append(batch.float().cpu().numpy())  # waits for the device
                costs.append(cost.of_last_batch())
        seconds = (time.perf_counter() - start) / len(frames)
        return np.concatenate(scores), {name: np.concatenate([c[name] for c in costs]) for name in costs[0]}, seconds
