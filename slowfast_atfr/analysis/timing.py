"""How long things take beside each other, on a machine whose speed drifts: in turn, round after round, as ratios."""

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
    target: what it is to be at most; None for a figure that is only told.
    note: shapes, counts and absolute times that a reader needs beside it.
    least: whether the target is what it is to be at least.
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
        """What a table shows, in the order of COLUMNS."""
        spread = f"{min(self.rounds):.3g} to {max(self.rounds):.3g}" if len(self.rounds) > 1 else ""
        target = met = ""
        if self.target is not None:
            target = f"at {'least' if self.least else 'most'} {self.target:g}"
            met = "yes" if (self.median >= self.target if self.least else self.median <= self.target) else "no"
        return self.name, f"{self.median:.3g}{' ' + self.unit if self.unit else ''}", spread, target, met, self.note


def table(figures: Sequence[Any]) -> str:
    """A markdown table of figures of one kind: something with COLUMNS, ALIGN and cells()."""
    return markdown.table(figures[0].COLUMNS, [figure.cells() for figure in figures], figures[0].ALIGN)


def in_turn(
    tasks: Mapping[str, Callable[[], Any]], *, rounds: int, device: torch.device, title: str = ""
) -> dict[str, np.ndarray]:
    """Run every task once a round.

    Args:
        tasks: functions by name; what they return is thrown away.
        rounds: that count; one before them warms up.
        device: waited for before the clock is read.
        title: of the progress bar.
    Returns:
        (rounds,) seconds of each task: entries of one round were measured next to each other.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for index in tqdm(range(-1, rounds), desc=title, unit="round", leave=False):
        for name, task in tasks.items():
            elapsed = seconds_of(task, device)
            if index >= 0:
                seconds[name].append(elapsed)
    return {name: np.array(times) for name, times in seconds.items()}


def seconds_of(task: Callable[[], Any], device: torch.device) -> float:
    """Wall-clock seconds of one call, until the device has done it."""
    _wait(device)
    start = time.perf_counter()
    task()
    _wait(device)
    return time.perf_counter() - start


def ratio(name: str, over: np.ndarray, under: np.ndarray, target: float | None = None, **told: Any) -> Figure:
    """over / under, round by round; the note ends with the median times of both."""
    times = " over ".join(_milliseconds(float(np.median(seconds))) for seconds in (over, under))
    note = "; ".join(filter(None, (told.pop("note", ""), times)))
    return Figure(name, tuple((over / under).tolist()), target=target, note=note, **told)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds >= 1 else f"{seconds * 1e3:.4g} ms"


def machine(device: torch.device) -> str:
    """What a figure was measured on, such as "AMD EPYC 7763, AVX2, 2 of 2 threads, torch 2.13.0"."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    vectors = torch.backends.cpu.get_cpu_capability()  # a virtual machine's name may not tell
    return f"{name}, {vectors}, {torch.get_num_threads()} of {os.cpu_count()} threads, torch {torch.__version__}"


def busy_share(seconds: float = 1.0) -> float | None:
    """Share of all processors' time that is in use while we sleep; None where /proc/stat does not say."""
    before = _processor_times()
    time.sleep(seconds)
    after = _processor_times()
    if before is None or after is None or after[1] == before[1]:
        return None
    return (after[0] - before[0]) / (after[1] - before[1])


def _processor_times() -> tuple[int, int] | None:
    """(busy, all) since the machine started, in its ticks."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return None
    ticks = [int(field) for field in stat.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # idle and iowait are not busy


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
