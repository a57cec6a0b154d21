"""Compare times on a machine whose speed drifts: tasks run in turn, with a ratio for each round."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from slowfast_atfr.analysis import markdown


@dataclass(frozen=True)
class Figure:
    """One figure of a benchmark, measured once a round.

    name: what was measured.
    rounds: the figure of each round.
    unit: "" for a ratio, else such as "s" or "maps".
    target: upper limit; None: no limit.
    note: shapes, counts and absolute times.
    least: whether the target is a lower limit.
    """

    name: str
    rounds: tuple[float, ...]
    unit: str = ""
    target: float | None = None
    note: str = ""
    least: bool = False

    COLUMNS: ClassVar[tuple[str, ...]] = ("what", "median", "range", "target", "met", "note")
    ALIGN: ClassVar[str] = "lrrlll"

    @property
    def median(self) -> float:
        return float(np.median(self.rounds))

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a table, in the order of COLUMNS."""
        spread = f"{min(self.rounds):.3g} to {max(self.rounds):.3g}" if len(self.rounds) > 1 else ""
        target = met = ""
        if self.target is not None:
            target = f"at {'least' if self.least else 'most'} {self.target:g}"
            met = "yes" if (self.median >= self.target if self.least else self.median <= self.target) else "no"
        return self.name, f"{self.median:.3g}{' ' + self.unit if self.unit else ''}", spread, target, met, self.note


def table(figures: Sequence[Any]) -> str:
    """Return a markdown table of figures of one kind, which has COLUMNS, ALIGN and cells()."""
    return markdown.table(figures[0].COLUMNS, [figure.cells() for figure in figures], figures[0].ALIGN)


def in_turn(
    tasks: Mapping[str, Callable[[], Any]], *, rounds: int, device: torch.device, title: str = "", untimed: int = 0
) -> dict[str, np.ndarray]:
    """Run every task once a round.

    Args:
        tasks: functions by name; their results are ignored.
        rounds: after one that warms up.
        device: synchronized before the clock is read.
        title: of the progress bar.
        untimed: runs of a task just before the one that is timed: threads of another library keep the cores busy for a
            while after its task.
    Returns:
        (rounds,) seconds of each task; entries of one round were measured next to each other.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for index in tqdm(range(-1, rounds), desc=title, unit="round", leave=False):
        for name, task in tasks.items():
            for _ in range(untimed):
                task()
            elapsed = seconds_of(task, device)
            if index >= 0:
                seconds[name].append(elapsed)
    return {name: np.array(times) for name, times in seconds.items()}


def seconds_of(task: Callable[[], Any], device: torch.device) -> float:
    """Return the wall-clock seconds of one call, the work of the device included."""
    _wait(device)
    start = time.perf_counter()
    task()
    _wait(device)
    return time.perf_counter() - start


def ratio(name: str, over: np.ndarray, under: np.ndarray, target: float | None = None, **fields: Any) -> Figure:
    """Return over / under, round by round; the note ends with the median times of both."""
    times = " over ".join(_milliseconds(float(np.median(seconds))) for seconds in (over, under))
    note = "; ".join(filter(None, (fields.pop("note", ""), times)))
    return Figure(name, tuple((over / under).tolist()), target=target, note=note, **fields)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds >= 1 else f"{seconds * 1e3:.4g} ms"


def machine(device: torch.device) -> str:
    """Describe the machine, such as "AMD EPYC 7763, AVX2, 2 of 2 threads, torch 2.13.0"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    vectors = torch.backends.cpu.get_cpu_capability()  # the name of a virtual machine may not show them
    return f"{name}, {vectors}, {torch.get_num_threads()} of {os.cpu_count()} threads, torch {torch.__version__}"


def busy_share(seconds: float = 1.0) -> float | None:
    """Return the share of processor time that is in use while we sleep; None without /proc/stat."""
    before = _processor_times()
    time.sleep(seconds)
    after = _processor_times()
    if before is None or after is None or after[1] == before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


def _processor_times() -> tuple[int, int] | None:
    """Return (busy, all) ticks since the machine started."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    ticks = [int(field) for field in stat.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # idle and iowait are not busy


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
