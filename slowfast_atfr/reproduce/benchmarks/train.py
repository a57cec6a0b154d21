"""Compare training with SGS and without: time and memory, also with activation checkpointing."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.analysis.memory import count_saved
from slowfast_atfr.analysis.timing import Figure, in_turn, ratio, seconds_of
from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.losses import loss_from
from slowfast_atfr.engine.optimizer import build_optimizer, set_lr
from slowfast_atfr.engine.step import GradientSteps, autocast
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins, ragged_lengths
from slowfast_atfr.reproduce.benchmarks.models import LOCAL_NORMS, pair_of, random_inputs

MIB = 2**20
CHECKPOINTED = ("MODEL.ACT_CHECKPOINT", "True")
BEFORE_SGS = (*CHECKPOINTED, "MODEL.ACT_CHECKPOINT_STAGES", "[res2]")  # the stage before SGS
BF16 = ("TRAIN.MIXED_PRECISION", "True", "TRAIN.AMP_DTYPE", "bfloat16")
MOST = 1024  # largest batch that is tried, in clips


@dataclass(frozen=True)
class Subject:
    """A network to train.

    config: of the network without SGS.
    batch: clips on a CPU, and on a GPU.
    time_target, bytes_target: upper limits of ATFR over base.
    """

    config: str
    batch: tuple[int, int]
    time_target: float | None = None
    bytes_target: float | None = None


SUBJECTS = {
    "3DResNet-18": Subject("Mini_Kinetics/3DRESNET18.yaml", (2, 16), 0.6, 0.7),
    "SlowFast-8x8-R50": Subject("Kinetics/SLOWFAST_8x8_R50.yaml", (2, 16), 0.6, 0.7),
    "X3D-S": Subject("Kinetics/X3D_S.yaml", (4, 32)),
}


class TrainingStep:
    """One iteration of training, always on the same random clips; SGS keeps a share of the maps.

    Args:
        config: file of the network.
        pairs: KEY VALUE pairs on top of it.
        batch: clips.
        device: where it runs.
        share: of the maps.
    """

    def __init__(
        self, config: Path, pairs: Sequence[str], batch: int, device: torch.device, *, share: float = 0.5
    ) -> None:
        self.cfg = load_cfg(str(config), [*LOCAL_NORMS, *pairs])
        self.device = device
        self.network = build_model(self.cfg).to(device).train()
        force_bins(self.network, share)
        self.optimizer = build_optimizer(self.network, self.cfg)
        set_lr(self.optimizer, self.cfg.SOLVER.WARMUP_START_LR)
        self.steps = GradientSteps(self.cfg, self.network, self.optimizer, device)
        self.loss_of = loss_from(self.cfg)
        self.inputs = random_inputs(self.cfg, device, batch)
        self.labels = torch.arange(batch, device=device) % self.cfg.MODEL.NUM_CLASSES

    def __call__(self) -> None:
        """Run an iteration as the training loop does."""
        self.steps.backward_and_step(self.loss(), 0, 1)

    def loss(self) -> Tensor:
        with autocast(self.cfg, self.device):
            return self.loss_of(self.network(self.inputs), self.labels)

    def saved_bytes(self) -> int:
        """Return the bytes that the forward pass keeps for the backward pass."""
        with count_saved(self.network) as saved:
            self.loss()
        return saved.total()


def seconds_of_a_clip(config: Path, pairs: Sequence[str], device: torch.device) -> float:
    """Measure the seconds of a training clip in one process, without data loading, in the second step."""
    cfg = load_cfg(str(config), pairs)
    batch = cfg.TRAIN.BATCH_SIZE // max(1, cfg.NUM_GPUS) if device.type == "cuda" else 2
    step = TrainingStep(config, pairs, batch, device)
    step()
    return seconds_of(step, device) / batch


def benchmark_train(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """Compare training steps of ATFR and of the base network, and both with all stages checkpointed."""
    figures = []
    for name, subject in SUBJECTS.items():
        figures += compare_steps(name, subject, configs, rounds=rounds, device=device)
        if device.type == "cuda":
            figures += measure_alone(name, subject, configs, rounds=rounds, device=device)
    return figures


def compare_steps(
    name: str, subject: Subject, configs: Path, *, rounds: int, device: torch.device, pairs: Sequence[str] = ()
) -> list[Figure]:
    """Measure ratios of times and of saved bytes, float32; `pairs` are KEY VALUE pairs for all configs."""
    base, atfr = pair_of(configs / subject.config)
    batch = subject.batch[device.type == "cuda"]
    steps = {
        "base": TrainingStep(base, pairs, batch, device),
        "ATFR": TrainingStep(atfr, pairs, batch, device),
        "ATFR, res2 checkpointed": TrainingStep(atfr, [*pairs, *BEFORE_SGS], batch, device),
        "base, checkpointed": TrainingStep(base, [*pairs, *CHECKPOINTED], batch, device),
        "ATFR, checkpointed": TrainingStep(atfr, [*pairs, *CHECKPOINTED], batch, device),
    }
    kept = {kind: step.saved_bytes() for kind, step in steps.items()}
    seconds = in_turn(steps, rounds=rounds, device=device, title=name)
    frames = steps["ATFR"].cfg.DATA.NUM_FRAMES
    note = f"{batch} clips, {ragged_lengths(frames, batch)} of {frames} maps"
    figures = []
    for over, under, targets in (
        ("ATFR", "base", (subject.time_target, subject.bytes_target)),
        ("ATFR, res2 checkpointed", "base", (None, None)),
        ("base, checkpointed", "base", (None, None)),
        ("ATFR, checkpointed", "ATFR", (None, None)),
    ):
        title = f"{name}, {over}, over {under}"
        figures.append(ratio(f"{title}: time", seconds[over], seconds[under], target=targets[0], note=note))
        sizes = f"{kept[over] / MIB:.4g} MiB over {kept[under] / MIB:.4g} MiB"
        figures.append(Figure(f"{title}: saved bytes", (kept[over] / kept[under],), target=targets[1], note=sizes))
    return figures


def measure_alone(
    name: str, subject: Subject, configs: Path, *, rounds: int, device: torch.device, pairs: Sequence[str] = ()
) -> list[Figure]:
    """Measure time, peak memory and largest batch of each kind of step alone on a GPU."""
    figures, batch = [], subject.batch[1]
    for network, config in zip(("base", "ATFR"), pair_of(configs / subject.config), strict=True):
        for kind, own in (
            ("float32", ()),
            ("bfloat16", BF16),
            ("float32, checkpointed", CHECKPOINTED),
            ("bfloat16, checkpointed", (*BF16, *CHECKPOINTED)),
        ):
            title, make = f"{name}, {network}, {kind}", partial(TrainingStep, config, (*pairs, *own), device=device)
            seconds, peak, most = cost_of_step(make, batch, rounds=rounds, device=device, title=title)
            figures += [
                Figure(f"{title}: a step", tuple((seconds * 1e3).tolist()), unit="ms", note=f"{batch} clips"),
                Figure(f"{title}: peak memory", (peak,), unit="GiB", note=f"{batch} clips"),
                Figure(f"{title}: largest batch", (most,), unit="clips", note="or more" if most == MOST else ""),
            ]
    return figures


def cost_of_step(
    make: Callable[[int], TrainingStep], batch: int, *, rounds: int, device: torch.device, title: str
) -> tuple[np.ndarray, float, int]:
    """Measure (rounds,) seconds of a step and, on a GPU, its peak memory in GiB and the largest batch that fits.

    make: builds a step for a batch of that many clips.
    """
    free_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = in_turn({title: make(batch)}, rounds=rounds, device=device, title=title)[title]
    if device.type != "cuda":
        return seconds, 0.0, 0
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    return seconds, peak, largest(lambda size: fits(lambda: make(size)()), start=batch)


def fits(task: Callable[[], None]) -> bool:
    """Whether a GPU has the memory for a task, which is freed afterwards."""
    try:
        task()
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        free_memory()


def free_memory() -> None:
    """Free unused memory; networks with `force_bins` are in reference cycles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def largest(fits: Callable[[int], bool], *, start: int, most: int = MOST) -> int:
    """Return the largest size up to `most` that fits, 0 if none does: doubled while it fits, then bisected."""
    low, high = 0, min(start, most)  # fits; tried next
    while fits(high):
        low = high
        if high == most:
            return most
        high = min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
