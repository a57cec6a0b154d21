"""What training, validation and test report: PySlowFast's json_stats, weighted by clips, over all processes."""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from tqdm import tqdm

from slowfast_atfr.engine.metrics.averages import ClipSums, Stopwatch
from slowfast_atfr.engine.metrics.ensemble import Result, VideoScores, merge
from slowfast_atfr.engine.metrics.results import TestResults, write_results
from slowfast_atfr.engine.metrics.topk import topk_correct
from slowfast_atfr.utils.distributed import gather_objects, is_main, on_main
from slowfast_atfr.utils.env import gpu_memory, host_memory
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.logging import log_json_stats

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
PerClip = Mapping[str, float | np.ndarray | Tensor]  # by name: (N,) values of the clips of a batch, or their mean
MAX_NAMED = 10  # videos that a warning names


def progress(items: Iterable[Item], description: str) -> Iterable[Item]:
    """The items, with a progress bar and its ETA on the main process where stderr is a terminal."""
    return tqdm(items, desc=description, leave=False, disable=not (is_main() and sys.stderr.isatty()))


class _Meter(Stopwatch):
    """Timers, and sums over clips, of an epoch or a test."""

    def __init__(self, num_iters: int, cfg: CfgNode) -> None:
        super().__init__(cfg.LOG_PERIOD)
        self._cfg, self._num_iters = cfg, num_iters
        self.reset()

    def start(self, num_iters: int, *, go_on: bool = False) -> None:
        """An epoch of so many batches begins, or goes on; the first iteration begins."""
        self._num_iters = num_iters
        if not go_on:
            self.reset()
        self.iter_tic()

    def reset(self) -> None:
        """Forget the batches: a new epoch begins."""
        self._sums = ClipSums(self._cfg.LOG_PERIOD)

    def _add_errors(self, scores: Tensor, labels: Tensor, values: PerClip) -> None:
        """Count top-1 and top-5 errors in percent (top-K where there are only K < 5 classes), and other values."""
        num_clips, num_classes = scores.shape
        correct = topk_correct(scores, labels, (1, min(5, num_classes)))
        top1_err, top5_err = (100.0 * (num_clips - count) for count in correct)
        sums = {"top1_err": top1_err, "top5_err": top5_err} | _sums_over_clips(values, num_clips)
        self._sums.add(num_clips, sums, scores.device)

    def _epoch_means(self) -> dict[str, float]:
        means = self._sums.means()
        if not means:
            raise RunError("not one video of this epoch could be read; see the warnings above for the reasons")
        return means

    def _is_logged(self, cur_iter: int) -> bool:
        return (cur_iter + 1) % self._cfg.LOG_PERIOD == 0

    def _iter_place(self, kind: str, cur_epoch: int, cur_iter: int) -> dict[str, str]:
        epoch, iteration = f"{cur_epoch + 1}/{self._cfg.SOLVER.MAX_EPOCH}", f"{cur_iter + 1}/{self._num_iters}"
        return {"_type": kind, "epoch": epoch, "iter": iteration, "gpu_mem": gpu_memory()}

    def _epoch_place(self, kind: str, cur_epoch: int) -> dict[str, str]:
        epoch = f"{cur_epoch + 1}/{self._cfg.SOLVER.MAX_EPOCH}"
        return {"_type": kind, "epoch": epoch, "gpu_mem": gpu_memory(), "RAM": host_memory()}


def _sums_over_clips(values: PerClip, num_clips: int) -> dict[str, Tensor]:
    sums = {}
    for name, value in values.items():
        tensor = torch.as_tensor(value)
        if tensor.ndim and tensor.shape != (num_clips,):
            raise ValueError(f"{name} is {tuple(tensor.shape)}; expected one value for each of the {num_clips} clips")
        sums[name] = tensor.sum() if tensor.ndim else tensor * num_clips
    return sums


class TrainMeter(_Meter):
    """Reports of training. Every process calls every method, at the same iterations."""

    def __init__(self, num_iters: int, cfg: CfgNode) -> None:
        super().__init__(num_iters, cfg)
        self._lr, self._grad_norm = 0.0, None

    def state_dict(self) -> dict[str, Any]:
        """The epoch so far, of this process."""
        return {"sums": self._sums.state_dict(), "lr": self._lr, "reported": self._reported}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums.load_state_dict(state["sums"])
        self._lr, self._reported = state["lr"], state.get("reported", False)

    @property
    def is_reported(self) -> bool:
        """Whether the epoch has its report, or nothing to report: all of it was trained before a resume."""
        return self._reported or self._sums.is_empty

    def reset(self) -> None:
        super().reset()
        self._reported = False

    def update(
        self,
        *,
        loss: float | Tensor,
        scores: Tensor,
        labels: Tensor,
        lr: float,
        grad_norm: Tensor | None = None,
        extra: PerClip | None = None,
    ) -> None:
        """Count a batch of this process.

        Args:
            loss: mean over the clips of the batch.
            scores: (N, K).
            labels: (N,) class indices.
            lr: learning rate of this step.
            grad_norm: of the last step, before clipping, 0-d; None before the first.
            extra: further values of each clip, (N,), or their mean, such as `gflops_per_clip`; always the same names.
        """
        self._lr, self._grad_norm = lr, grad_norm
        self._add_errors(scores, labels, {"loss": loss, **(extra or {})})

    def log_iter_stats(self, cur_epoch: int, cur_iter: int) -> dict[str, Any] | None:
        """Every LOG_PERIOD iterations: times, and medians over the last LOG_PERIOD batches. Both arguments from 0.

        Returns:
            what was logged, if anything was.
        """
        if not self._is_logged(cur_iter):
            return None
        place = self._iter_place("train_iter", cur_epoch, cur_iter)
        stats = place | self._times(cur_epoch, cur_iter + 1) | self._sums.recent(over_ranks=True) | self._last_norm()
        log_json_stats(stats)
        return stats

    def log_epoch_stats(self, cur_epoch: int, *, num_skipped: int = 0) -> dict[str, Any]:
        """Log means over all clips of the epoch and how many videos could not be read, and return what was logged."""
        means = self._epoch_means() | {"num_skipped": num_skipped}
        stats = self._epoch_place("train_epoch", cur_epoch) | self._times(cur_epoch + 1, 0) | means
        stats |= self._last_norm()
        log_json_stats(stats)
        self._reported = True
        return stats

    def _last_norm(self) -> dict[str, float]:
        return {} if self._grad_norm is None else {"grad_norm": float(self._grad_norm)}

    def _times(self, epochs_done: int, iters_done: int) -> dict[str, Any]:
        iters_left = (self._cfg.SOLVER.MAX_EPOCH - epochs_done) * self._num_iters - iters_done
        times = {"dt": self.iteration.mean, "dt_data": self.data.mean, "dt_net": self.net.mean}
        return times | {"eta": self.eta(iters_left), "lr": self._lr}


class ValMeter(_Meter):
    """Reports of validation. Processes may have different numbers of batches: they meet at the epoch's end only."""

    def __init__(self, num_iters: int, cfg: CfgNode) -> None:
        super().__init__(num_iters, cfg)
        self._best = {"min_top1_err": 100.0, "min_top5_err": 100.0}

    def state_dict(self) -> dict[str, Any]:
        """The least errors so far, which are those of all processes."""
        return dict(self._best)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._best = dict(state)

    def update(self, *, scores: Tensor, labels: Tensor, extra: PerClip | None = None) -> None:
        """Count a batch of this process; arguments as those of TrainMeter."""
        self._add_errors(scores, labels, extra or {})

    def log_iter_stats(self, cur_epoch: int, cur_iter: int) -> None:
        """Every LOG_PERIOD iterations: medians over the last LOG_PERIOD batches of the main process."""
        if self._is_logged(cur_iter):
            times = {"time_diff": self.iteration.mean, "eta": self.eta(self._num_iters - cur_iter - 1)}
            place = self._iter_place("val_iter", cur_epoch, cur_iter)
            log_json_stats(place | times | self._sums.recent(over_ranks=False))

    def log_epoch_stats(self, cur_epoch: int, *, num_skipped: int = 0) -> dict[str, Any]:
        """Log means over all clips of all processes and the least errors so far, and return what was logged."""
        means = self._epoch_means() | {"num_skipped": num_skipped}
        self._best = {name: min(least, means[name.removeprefix("min_")]) for name, least in self._best.items()}
        stats = self._epoch_place("val_epoch", cur_epoch) | {"time_diff": self.iteration.mean} | means | self._best
        log_json_stats(stats)
        return stats


class TestMeter(_Meter):
    """Reports of a test: views are brought together per video over all processes, each view once.

    Args:
        num_videos: of the test set; views of video i come with index i.
        num_views: of each video, TEST.NUM_ENSEMBLE_VIEWS x TEST.NUM_SPATIAL_CROPS.
        num_iters: batches of this process.
        names: of the videos, for warnings; None names them by index.
    """

    __test__ = False  # not a test case, whatever pytest thinks of its name

    def __init__(
        self, num_videos: int, num_views: int, num_iters: int, cfg: CfgNode, *, names: Sequence[str] | None = None
    ) -> None:
        super().__init__(num_iters, cfg)
        self._names = [str(index) for index in range(num_videos)] if names is None else names
        if len(self._names) != num_videos:
            raise ValueError(f"{len(self._names)} names for {num_videos} videos")
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
        """Count a batch of views of this process. A video that could not be read is simply never reported.

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
        whole = torch.cat(both, dim=1).cpu()  # one wait for both
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
        """Every LOG_PERIOD iterations: how far the main process is."""
        if self._is_logged(cur_iter):
            times = {"time_diff": self.iteration.mean, "eta": self.eta(self._num_iters - cur_iter - 1)}
            log_json_stats({"_type": "test_iter", "cur_iter": f"{cur_iter + 1}/{self._num_iters}"} | times)

    def merged(self) -> VideoScores:
        """What all processes together know of the videos, on every process; a collective."""
        return merge(gather_objects(self._videos))

    def value_names(self) -> tuple[str, ...]:
        """Names of the values of each view; a collective: a process without a view has none."""
        return max(gather_objects(self._value_names), key=len)

    def restore(self, videos: VideoScores, value_names: Sequence[str]) -> None:
        """Count the videos of a test that was stopped; of one process."""
        self._videos, self._value_names = merge([videos]), tuple(value_names)

    def finalize(self, *, net_seconds: float) -> dict[str, Any]:
        """Merge the processes, log `test_final` and return it; a collective.

        Videos without a view are counted, named and left out; those that lack some are named, and judged by the rest.

        Args:
            net_seconds: that this process's views took in the network; processes work side by side, so their rates add.
        Raises:
            RunError: if no video has a view; every process raises it.
        """
        merged = self.merged()
        seen = sorted(merged.labels)
        if not seen:
            raise RunError(f"none of the {len(self._names)} videos could be tested; see the warnings above")
        self._warn("could not be tested and are left out", sorted(set(range(len(self._names))) - set(seen)))
        self._warn(f"lack some of their {merged.num_views} views and are judged by the others", sorted(merged.parts))
        whole = merged.whole | {video: merged.bring_together(views) for video, views in merged.parts.items()}
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
        """Write what `finalize` found, on the main process; a collective. See `results.write_results`."""
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
