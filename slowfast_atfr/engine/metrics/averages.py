"""Averages over iterations and clips: times of iterations, and means of any quantity per clip."""

import datetime
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.utils.distributed import all_reduce_sum, gather_objects
from slowfast_atfr.utils.upload import to_device


class ScalarMeter:
    """The mean of the last `window` numbers, 0 before the first."""

    def __init__(self, window: int) -> None:
        self._recent: deque[float] = deque(maxlen=window)

    def add(self, value: float) -> None:
        self._recent.append(value)

    @property
    def mean(self) -> float:
        return float(np.mean(self._recent)) if self._recent else 0.0


class Stopwatch:
    """Seconds of an iteration, of waiting for data and of the rest, averaged over the last `window` iterations."""

    def __init__(self, window: int) -> None:
        self.iteration, self.data, self.net = (ScalarMeter(window) for _ in range(3))
        self.iter_tic()

    def iter_tic(self) -> None:
        """Mark the start of an iteration, before it loads its batch."""
        self._start = self._data_end = time.perf_counter()

    def data_toc(self) -> None:
        """Mark that the batch is loaded."""
        self._data_end = time.perf_counter()
        self.data.add(self._data_end - self._start)

    def iter_toc(self) -> None:
        """Mark the end of an iteration."""
        now = time.perf_counter()
        self.net.add(now - self._data_end)
        self.iteration.add(now - self._start)

    def eta(self, iterations: int) -> str:
        """Return the estimated time of a number of iterations, such as "1:02:03"."""
        return str(datetime.timedelta(seconds=int(self.iteration.mean * iterations)))


class ClipSums:
    """Sums over clips of named quantities, over all batches and for each of the last `window`.

    They stay on the device until they are read, so adding a batch never waits.
    """

    def __init__(self, window: int) -> None:
        self._names: tuple[str, ...] = ()
        self._recent: deque[Tensor] = deque(maxlen=window)  # one per batch: number of clips, then the sums
        self._total: Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Names, totals and rows of recent batches, on the CPU."""
        total = None if self._total is None else self._total.cpu()
        return {"names": self._names, "total": total, "recent": [row.cpu() for row in self._recent]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._names, self._total = tuple(state["names"]), state["total"]
        self._recent.extend(state["recent"])

    @property
    def is_empty(self) -> bool:
        return self._total is None

    def add(self, num_clips: int, sums: Mapping[str, float | Tensor], device: torch.device) -> None:
        """Add a batch. Names and their order are the same for all batches and processes."""
        if self._total is not None and tuple(sums) != self._names:
            raise ValueError(f"this batch reports {tuple(sums)}, the ones before {self._names}")
        self._names = tuple(sums)
        values = (num_clips, *sums.values())
        on_device = [isinstance(value, Tensor) and value.device == device for value in values]
        numbers = [float(value) for value, is_there in zip(values, on_device, strict=True) if not is_there]
        copied = iter(to_device(torch.tensor(numbers, dtype=torch.float64), device))  # one copy for all
        pairs = zip(values, on_device, strict=True)
        row = torch.stack([value.detach().double() if is_there else next(copied) for value, is_there in pairs])
        self._recent.append(row)
        self._total = row if self._total is None else self._total.to(device) + row

    def recent(self, *, over_ranks: bool) -> dict[str, float]:
        """Return the median over the last batches of each batch's mean per clip; empty before the first batch.

        Args:
            over_ranks: take the batches of all processes together; then a collective.
        """
        if not self._recent:
            return {}
        rows = torch.stack([row.to(self._recent[-1].device) for row in self._recent])
        (rows,) = all_reduce_sum([rows]) if over_ranks else (rows,)
        medians = np.median((rows[:, 1:] / rows[:, :1]).cpu().numpy(), axis=0)
        return dict(zip(self._names, medians.tolist(), strict=True))

    def means(self) -> dict[str, float]:
        """Return the means per clip over all batches of all processes, empty if there are none; a collective."""
        mine = None if self._total is None else (self._names, self._total.cpu())
        parts = [part for part in gather_objects(mine) if part is not None]
        if not parts:
            return {}
        num_clips, *sums = torch.stack([total for _, total in parts]).sum(0).tolist()
        return {name: value / num_clips for name, value in zip(parts[0][0], sums, strict=True)}
