"""Reports of training and validation: PySlowFast's json_stats, weighted by clips, over all processes."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from tqdm import tqdm

from slowfast_atfr.engine.metrics.averages import ClipSums, Stopwatch
from slowfast_atfr.engine.metrics.topk import topk_correct
from slowfast_atfr.utils.distributed import is_main
from slowfast_atfr.utils.env import gpu_memory, host_memory
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.logging import log_json_stats

Item = TypeVar("Item")
PerClip = Mapping[str, float | np.ndarray | Tensor]  # by name: (N,) values of the clips of a batch, or their mean


def progress(items: Iterable[Item], description: str) -> Iterable[Item]:
    """Iterate with a progress bar on the main process if stderr is a terminal."""
    return tqdm(items, desc=description, leave=False, disable=not (is_main() and sys.stderr.isatty()))


class _Meter(Stopwatch):
    """Timers, and sums over clips of an epoch."""

    def __init__(self, num_iters: int, cfg: CfgNode) -> None:
        super().__init__(cfg.LOG_PERIOD)
        self._cfg, self._num_iters = cfg, num_iters
        self.reset()

    def start(self, num_iters: int, *, resume: bool = False) -> None:
        """Start or resume an epoch of `num_iters` batches, and its first iteration."""
        self._num_iters = num_iters
        if not resume:
            self.reset()
        self.iter_tic()

    def reset(self) -> None:
        """Clear the sums for a new epoch."""
        self._sums = ClipSums(self._cfg.LOG_PERIOD)

    def _add_errors(self, scores: Tensor, labels: Tensor, values: PerClip) -> None:
        """Add top-1 and top-5 errors in percent (top-K with K < 5 classes), and other values."""
        num_clips, num_classes = scores.shape
        correct = topk_correct(scores, labels, (1, min(5, num_classes)))
        top1_err, top5_err = (100.0 * (num_clips - count) for count in correct)
        sums = {"top1_err": top1_err, "top5_err": top5_err} | _sums_over_clips(values, num_clips)
        self._sums.add(num_clips, sums, scores.device)

    def _epoch_means(self) -> dict[str, float]:
        means = self._sums.means()
        if not means:
            raise RunError("no video of this epoch could be read; see the warnings above")
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
    """Reports of training. Every process calls every method at the same iterations."""

    def __init__(self, num_iters: int, cfg: CfgNode) -> None:
        super().__init__(num_iters, cfg)
        self._lr, self._grad_norm = 0.0, None

    def state_dict(self) -> dict[str, Any]:
        """The epoch so far, on this process."""
        return {"sums": self._sums.state_dict(), "lr": self._lr, "reported": self._reported}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums.load_state_dict(state["sums"])
        self._lr, self._reported = state["lr"], state.get("reported", False)

    @property
    def is_reported(self) -> bool:
        """Whether the epoch was reported, or has nothing to report since all of it was trained before a resume."""
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
        """Add a batch of this process.

        Args:
            loss: mean over the clips of the batch.
            scores: (N, K).
            labels: (N,) class indices.
            lr: learning rate of this step.
            grad_norm: of the last step, before clipping, 0-d; None before the first.
            extra: other values of each clip, (N,), or their mean, such as `gflops_per_clip`; always the same names.
        """
        self._lr, self._grad_norm = lr, grad_norm
        self._add_errors(scores, labels, {"loss": loss, **(extra or {})})

    def log_iter_stats(self, cur_epoch: int, cur_iter: int) -> dict[str, Any] | None:
        """Every LOG_PERIOD iterations log times, and medians over the last LOG_PERIOD batches. Arguments count from 0.

        Returns:
            what was logged, if anything.
        """
        if not self._is_logged(cur_iter):
            return None
        place = self._iter_place("train_iter", cur_epoch, cur_iter)
        stats = place | self._times(cur_epoch, cur_iter + 1) | self._sums.recent(over_ranks=True) | self._last_norm()
        log_json_stats(stats)
        return stats

    def log_epoch_stats(self, cur_epoch: int, *, num_skipped: int = 0) -> dict[str, Any]:
        """Log means over all clips of the epoch and the number of unreadable videos; return what was logged."""
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
    """Reports of validation. Processes may have different numbers of batches, so collectives are at its end only."""

    def __init__(self, num_iters: int, cfg: CfgNode) -> None:
        super().__init__(num_iters, cfg)
        self._best = {"min_top1_err": 100.0, "min_top5_err": 100.0}

    def state_dict(self) -> dict[str, Any]:
        """The smallest errors so far, over all processes."""
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
        """Log means over all clips of all processes and the smallest errors so far; return what was logged."""
        means = self._epoch_means() | {"num_skipped": num_skipped}
        self._best = {name: min(least, means[name.removeprefix("min_")]) for name, least in self._best.items()}
        stats = self._epoch_place("val_epoch", cur_epoch) | {"time_diff": self.iteration.mean} | means | self._best
        log_json_stats(stats)
        return stats
