"""One table for a GPU, the most important rows first, so that an incomplete table is still useful."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from slowfast_atfr.analysis import markdown
from slowfast_atfr.analysis.timing import seconds_of
from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.step import autocast
from slowfast_atfr.models.compiled import check_compiler
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins
from slowfast_atfr.reproduce.benchmarks.inference import fast_network
from slowfast_atfr.reproduce.benchmarks.models import LOCAL_NORMS, pair_of, random_inputs
from slowfast_atfr.reproduce.benchmarks.train import BF16, MOST, TrainingStep, cost_of_step, fits, free_memory, largest
from slowfast_atfr.utils.precision import allow_tf32

COMPILED = ("MODEL.COMPILE", "True")


@dataclass(frozen=True)
class Subject:
    """A network: the config without SGS, clips of a batch on a CPU and on a GPU, the share of maps that SGS keeps.

    paper: clips/s of inference, and the largest batch, without and with SGS.
    """

    config: str
    batch: tuple[int, int]
    share: float = 0.5
    paper: tuple[str, str] = ("", "")


SUBJECTS = {
    "X3D-S": Subject("Kinetics/X3D_S.yaml", (2, 64), 5.7 / 13, ("2834 -> 4295", "208 -> 256")),  # Table A.2
    "SlowFast-8x8-R50": Subject("Kinetics/SLOWFAST_8x8_R50.yaml", (1, 16)),
    "3DResNet-18": Subject("Mini_Kinetics/3DRESNET18.yaml", (1, 16)),
    "3DResNet-50": Subject("Mini_Kinetics/3DRESNET50.yaml", (1, 16)),
}
TYPES = {"float32": (), "bfloat16": BF16}


@dataclass(frozen=True)
class Pair:
    """A line of the table: two figures, of the network without SGS and with it unless `what` says otherwise."""

    what: str
    first: float
    second: float
    unit: str = ""
    paper: str = ""

    COLUMNS: ClassVar[tuple[str, ...]] = ("what", "first", "second", "second over first", "in the paper")
    ALIGN: ClassVar[str] = "lrrrl"

    def cells(self) -> tuple[str, ...]:
        """Return the cells of a table, in the order of COLUMNS."""
        figures = (f"{figure:.4g} {self.unit}".strip() for figure in (self.first, self.second))
        ratio = f"{self.second / self.first:.3g}" if self.first else ""
        return self.what, *figures, ratio, self.paper


def benchmark_all(
    configs: Path,
    *,
    minutes: float,
    rounds: int,
    device: torch.device,
    emit: Callable[[str], None],
    pairs: Sequence[str] = (),
) -> list[Pair]:
    """Measure as much as the minutes allow, line by line.

    Args:
        minutes: after which no new measurement starts; those left out are listed.
        rounds: measurements of each time; the median is reported.
        emit: receives each line of the table as soon as it is known.
        pairs: KEY VALUE pairs for all configs.
    """
    deadline, found = time.monotonic() + 60 * minutes, []
    for line in markdown.table(Pair.COLUMNS, [], Pair.ALIGN).splitlines():
        emit(line)
    left_out = []
    for name, measure in tasks(configs, device, pairs, rounds):
        if time.monotonic() > deadline:
            left_out.append(name)
            continue
        try:
            for pair in measure():
                found.append(pair)
                emit(markdown.row(pair.cells()))
        except (RuntimeError, ConfigError) as error:  # the others may work
            emit(markdown.row([name, f"failed: {' '.join(str(error).split())[:200]}", "", "", ""]))
        free_memory()
    if left_out:
        emit(f"\nnot measured within {minutes:g} minutes: {'; '.join(left_out)}")
    return found


Task = tuple[str, Callable[[], Iterator[Pair]]]


def tasks(configs: Path, device: torch.device, pairs: Sequence[str], rounds: int) -> Iterator[Task]:
    """Yield all measurements by name, the most important first."""
    yield "memory formats", partial(memory_formats, device, rounds)
    for compiled, types in ((False, ("float32", "bfloat16")), (True, ("bfloat16", "float32"))):
        for kind in types:
            for name, subject in SUBJECTS.items():
                title = f"{name}, {kind}, {'compiled' if compiled else 'eager'}"
                own = (*pairs, *TYPES[kind], *(COMPILED if compiled else ()))
                given = title, subject, configs, own, device, rounds
                yield f"{title}, inference", partial(inference, *given)
                yield f"{title}, training", partial(training, *given)


def memory_formats(device: torch.device, rounds: int) -> Iterator[Pair]:
    """Compare contiguous and channels-last clips in X3D's channelwise convolutions, forward and backward."""
    batch, side = (32, 40) if device.type == "cuda" else (1, 20)
    seconds = []
    for memory_format in (torch.contiguous_format, torch.channels_last_3d):
        conv = nn.Conv3d(108, 108, 3, padding=1, groups=108, bias=False, device=device)
        x = torch.randn(batch, 108, 13, side, side, device=device).contiguous(memory_format=memory_format)
        x.requires_grad_()

        def step(conv: nn.Module = conv, x: torch.Tensor = x) -> None:
            conv(x).backward(x.detach())

        seconds.append(1e3 * _median(step, device, rounds))
    yield Pair("X3D-S's channelwise convolution and its gradients: contiguous, channels_last_3d", *seconds, unit="ms")


def inference(
    title: str, subject: Subject, configs: Path, pairs: Sequence[str], device: torch.device, rounds: int
) -> Iterator[Pair]:
    """Measure clips per second at the largest batch that fits (on a CPU: a small one), norms folded."""
    figures = []
    for path in pair_of(configs / subject.config):
        cfg = load_cfg(str(path), [*LOCAL_NORMS, *pairs])
        _prepare(cfg, device)
        network = fast_network(path, device, *pairs)
        force_bins(network, subject.share)

        def run(batch: int, network: nn.Module = network, cfg=cfg) -> Callable[[], None]:
            clips = random_inputs(cfg, device, batch)

            def forward() -> None:
                with torch.inference_mode(), autocast(cfg, device):
                    network(clips)

            return forward

        batch = _largest(run, subject, device)
        figures.append((batch / _median(run(batch), device, rounds), batch))
        del network
        free_memory()
    (base, most), (atfr, most_atfr) = figures
    yield Pair(f"{title}: inference, clips/s", base, atfr, paper=subject.paper[0])
    yield Pair(f"{title}: clips of these batches", most, most_atfr, paper=subject.paper[1])


def training(
    title: str, subject: Subject, configs: Path, pairs: Sequence[str], device: torch.device, rounds: int
) -> Iterator[Pair]:
    """Measure milliseconds of a step, its peak memory, and the largest batch that fits."""
    on_gpu, figures = device.type == "cuda", []
    batch = subject.batch[on_gpu]
    for path in pair_of(configs / subject.config):
        make = partial(TrainingStep, path, pairs, device=device, share=subject.share)
        _prepare(load_cfg(str(path), [*LOCAL_NORMS, *pairs]), device)
        seconds, peak, most = cost_of_step(make, batch, rounds=rounds, device=device, title=title)
        figures.append((1e3 * float(np.median(seconds)), peak, most))
    base, atfr = figures
    yield Pair(f"{title}: a step of {batch} clips", base[0], atfr[0], unit="ms")
    if on_gpu:
        yield Pair(f"{title}: peak memory of a step", base[1], atfr[1], unit="GiB")
        yield Pair(f"{title}: largest batch of training (at most {MOST})", base[2], atfr[2], unit="clips")


def _prepare(cfg, device: torch.device) -> None:
    allow_tf32(cfg.ALLOW_TF32, device)
    if cfg.MODEL.COMPILE:
        check_compiler(device)


def _largest(run: Callable[[int], Callable[[], None]], subject: Subject, device: torch.device) -> int:
    if device.type != "cuda":
        return subject.batch[0]
    return largest(lambda size: fits(lambda: run(size)()), start=subject.batch[1])


def _median(task: Callable[[], None], device: torch.device, rounds: int) -> float:
    """Return the median seconds, after a call to warm up."""
    task()
    return float(np.median([seconds_of(task, device) for _ in range(rounds)]))
