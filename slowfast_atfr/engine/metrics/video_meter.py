"""The report of a test: scores of views combined per video, over all processes."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.engine.metrics.averages import Stopwatch
from slowfast_atfr.engine.metrics.ensemble import Result, VideoScores, merge
from slowfast_atfr.engine.metrics.meters import PerClip
from slowfast_atfr.engine.metrics.results import TestResults, write_results
from slowfast_atfr.engine.metrics.topk import topk_correct
from slowfast_atfr.utils.distributed import gather_objects, on_main
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.logging import log_json_stats

logger = logging.getLogger(__name__)
MAX_NAMED = 10  # videos named in a warning


class TestMeter(Stopwatch):
    """Reports of a test. Scores of views are combined per video over all processes, each view once.

    Args:
        names: of the videos of the test set; views of video i come with index i.
        num_views: of each video, TEST.NUM_ENSEMBLE_VIEWS x TEST.NUM_SPATIAL_CROPS.
        num_iters: batches of this process.
    """

    __test__ = False  # not collected by pytest

    def __init__(self, names: Sequence[str], num_views: int, num_iters: int, cfg: CfgNode) -> None:
        super().__init__(cfg.LOG_PERIOD)
        self._log_period, self._num_iters = cfg.LOG_PERIOD, num_iters
        self._names = names
        self._videos, self._num_clips = VideoScores(num_views, cfg.DATA.ENSEMBLE_METHOD), 0
        self._value_names: tuple[str, ...] = ()

    def update(
        self,
        *,
        scores: Tensor,
        labels: Tensor,
        videos: Sequence[int],
        views: Sequence[int],
        extra: PerClip | None = None,
    ) -> None:
        """Add a batch of views of this process.

        Args:
            scores: (N, K) after softmax (or sigmoid).
            labels: (N,) class indices.
            videos: index of the video of each view.
            views: index of each view within its video.
            extra: values of each view, (N,), or their mean, such as `gflops_per_clip`.
        """
        self._num_clips += len(scores)
        extra = extra or {}
        both = scores.detach().double(), labels.unsqueeze(1).to(scores.device)
        whole = torch.cat(both, dim=1).cpu()  # one wait for the device
        rows, classes = whole[:, :-1].float().numpy(), whole[:, -1].long().tolist()
        costs = np.zeros((len(rows), len(extra)))
        for column, value in enumerate(extra.values()):
            costs[:, column] = torch.as_tensor(value).cpu()
        whose = zip(map(int, videos), map(int, views), classes, strict=True)
        for (video, view, label), row, cost in zip(whose, rows, costs, strict=True):
            if not 0 <= video < len(self._names):
                raise ValueError(f"video {video} is not one of the {len(self._names)} of the test set")
            self._videos.add(video, view, label, Result(row.copy(), cost))
        if extra:
            self._value_names = tuple(extra)

    def log_iter_stats(self, cur_iter: int) -> None:
        """Every LOG_PERIOD iterations log the progress of the main process."""
        if (cur_iter + 1) % self._log_period == 0:
            times = {"time_diff": self.iteration.mean, "eta": self.eta(self._num_iters - cur_iter - 1)}
            log_json_stats({"_type": "test_iter", "cur_iter": f"{cur_iter + 1}/{self._num_iters}"} | times)

    def merged(self) -> VideoScores:
        """Return the scores of all processes, on every process; a collective."""
        return merge(gather_objects(self._videos))

    def value_names(self) -> tuple[str, ...]:
        """Return the names of the values of each view; a collective, since a process without views knows none."""
        return max(gather_objects(self._value_names), key=len)

    def restore(self, videos: VideoScores, value_names: Sequence[str]) -> None:
        """Add the videos of an interrupted test; called on one process."""
        self._videos, self._value_names = merge([videos]), tuple(value_names)

    def finalize(self, *, net_seconds: float) -> dict[str, Any]:
        """Merge the processes, log `test_final` and return it; a collective.

        Videos without readable views are counted, named and left out; those that lack some are named and tested on the
        others.

        Args:
            net_seconds: time in the network of this process's views; the rates of processes add up.
        Raises:
            RunError: if no video has a view; every process raises it.
        """
        merged = self.merged()
        seen = sorted(merged.labels)
        if not seen:
            raise RunError(f"none of the {len(self._names)} videos could be tested; see the warnings above")
        self._warn("could not be tested and are left out", sorted(set(range(len(self._names))) - set(seen)))
        self._warn(f"lack some of their {merged.num_views} views and are tested on the others", sorted(merged.parts))
        whole = merged.whole | {video: merged.combine(views) for video, views in merged.parts.items()}
        self._results = self._results_of({video: whole[video] for video in seen}, merged.labels)
        scores, labels = self._results.scores, self._results.labels
        correct = topk_correct(scores, labels, (1, min(5, scores.shape[1])))
        top1_acc, top5_acc = (f"{100.0 * int(count) / len(seen):.2f}" for count in correct)
        stats = {"_type": "test_final", "split": "test_final", "top1_acc": top1_acc, "top5_acc": top5_acc}
        stats |= {"num_videos": len(seen), "num_skipped": len(self._names) - len(seen)}
        rates = gather_objects(self._num_clips / max(net_seconds, 1e-9))
        stats |= self._results.means() | {"clips_per_second": sum(rates)}
        log_json_stats(stats)
        return stats

    def save_results(self, path: str) -> None:
        """Write the results of `finalize` on the main process; a collective. See `results.write_results`."""
        on_main(lambda: write_results(path, self._results))
        logger.info("the results of %d videos are in %s", len(self._results.paths), path)

    def _results_of(self, found: Mapping[int, Result], labels: Mapping[int, int]) -> TestResults:
        names = self.value_names()
        values = np.stack([result.values for result in found.values()])
        return TestResults(
            paths=[self._names[video] for video in found],
            videos=torch.tensor(list(found)),
            labels=torch.tensor([labels[video] for video in found]),
            scores=torch.from_numpy(np.stack([result.scores for result in found.values()])),
            num_views=torch.tensor([result.num_views for result in found.values()]),
            values={name: torch.from_numpy(values[:, column].copy()) for column, name in enumerate(names)},
        )

    def _warn(self, what: str, videos: Sequence[int]) -> None:
        if videos:
            names = ", ".join(self._names[video] for video in videos[:MAX_NAMED])
            more = f" and {len(videos) - MAX_NAMED} more" if len(videos) > MAX_NAMED else ""
            logger.warning("%d of %d videos %s: %s%s", len(videos), len(self._names), what, names, more)
