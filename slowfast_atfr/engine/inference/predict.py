"""What a trained network says of video files that have no label."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.datasets.decoder import DecodeError
from slowfast_atfr.datasets.loader import num_workers
from slowfast_atfr.datasets.own_videos import Look, OwnVideos
from slowfast_atfr.engine.run import build_for_test, watch_cost
from slowfast_atfr.engine.step import autocast
from slowfast_atfr.models.inputs import pathways
from slowfast_atfr.utils.ahead import made_ahead
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.precision import allow_tf32


@dataclass(frozen=True)
class Prediction:
    """What the network says of a video, or of one window of it.

    path: of the video.
    start, end: of the frames that were looked at, in seconds: when the first is shown, and until when the last is.
    scores: (classes,) mean, or maximum with DATA.ENSEMBLE_METHOD max, over the clips; empty where there is an error.
    num_clips: clips that went through the network.
    cost: means over the clips: gflops_per_clip, and such as active_bins_s2_fast.
    seconds: that the network took for a clip.
    decoding: seconds that it took to decode a clip, beside the network.
    error: why the video could not be read; "" where it could.
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
        allow_tf32(cfg.ALLOW_TF32, device)
        self.cfg, self.device = cfg, device
        self.network, _ = build_for_test(cfg, RankInfo(0, 1, 0, 1, device))

    def __call__(self, paths: Sequence[str], stride: float | None = None) -> Iterator[Prediction]:
        """Predictions in the order of the videos. The next videos are decoded while the network is at work.

        DATA_LOADER.NUM_WORKERS threads decode, no more than there are cores, at least one; each holds the clips of a
        video, or WINDOWS_AT_ONCE windows of it.

        Args:
            paths: of video files.
            stride: None: a prediction for each video, from the test's views of it. Else one for each window: a clip's
                duration, every so many seconds from the start to the end of the video.
        """
        threads = max(1, num_workers(self.cfg.DATA_LOADER.NUM_WORKERS, 1))
        for path, look, seconds in made_ahead((self._looks(path, stride) for path in paths), threads):
            if isinstance(look, DecodeError):
                yield Prediction(path, error=look.reason)
            else:
                yield from self._predict(path, look, seconds / len(look.views), whole=stride is None)

    def _looks(self, path: str, stride: float | None) -> Iterator[tuple[str, Look | DecodeError, float]]:
        """What there is to see of a video, or why not all of it can be seen, and the seconds that it took to decode."""
        videos = OwnVideos(self.cfg, [path])
        start = time.perf_counter()
        try:
            for look in [videos.look(0)] if stride is None else videos.look_along(0, stride):
                yield path, look, time.perf_counter() - start
                start = time.perf_counter()
        except DecodeError as error:
            yield path, error, time.perf_counter() - start

    def _predict(self, path: str, look: Look, decoding: float, *, whole: bool) -> Iterator[Prediction]:
        """A prediction for the whole video, or one for each of the clips, whose views stand together."""
        scores, cost, seconds = self._scores(look.views)
        spans = [(look.spans[:, 0].min(), look.spans[:, 1].max())] if whole else look.spans
        each = len(scores) // len(spans)
        for number, (start, end) in enumerate(spans):
            mine = slice(number * each, (number + 1) * each)
            together = scores[mine].max(0) if self.cfg.DATA.ENSEMBLE_METHOD == "max" else scores[mine].mean(0)
            means = {name: float(values[mine].mean()) for name, values in cost.items()}
            yield Prediction(path, float(start), float(end), together, each, means, seconds, decoding)

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
