"""What training with SGS costs beside training without: time, memory, and both with activation checkpointing."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_atfr.analysis.memory import count_saved
from slowfast_atfr.analysis.timing import Figure, in_turn, ratio, seconds_of
from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.losses import loss_from
from slowfast_atfr.engine.optimizer import build_optimizer, set_lr
from slowfast_atfr.engine.step import GradientSteps, autocast
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import PackedClips
from slowfast_atfr.reproduce.benchmarks.models import LOCAL_NORMS, ragged_lengths, random_inputs
from slowfast_atfr.sgs import TemporalSampler
from slowfast_atfr.sgs.temporal_sampler import Measured

MIB = 2**20
CHECKPOINTED = ("MODEL.ACT_CHECKPOINT", "True")
BEFORE_SGS = (*CHECKPOINTED, "MODEL.ACT_CHECKPOINT_STAGES", "[res2]")  # which dropped maps make no lighter
BF16 = ("TRAIN.MIXED_PRECISION", "True", "TRAIN.AMP_DTYPE", "bfloat16")
MOST = 1024  # clips, beyond which no larger batch is looked for


@dataclass(frozen=True)
class Subject:
    """A network to train.

    config: the one without SGS; the one with it stands beside it.
    batch: clips on a CPU, and on a GPU.
    time_target, bytes_target: what ATFR over base is to be at most.
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
    """One iteration of training, again and again on the same random clips; behind SGS a share of the maps goes on.

    Args:
        config: file of the network.
        pairs: KEY VALUE pairs on top of it.
        batch: clips.
        device: where it runs.
        share: of the maps, by default half of them.
    """

    def __init__(
        self, config: Path, pairs: Sequence[str], batch: int, device: torch.device, *, share: float = 0.5
    ) -> None:
        self.cfg = load_cfg(str(config), [*LOCAL_NORMS, *pairs])
        self.device = device
        self.network = build_model(self.cfg).to(device).train()
        keep_bins(self.network, share)
        self.optimizer = build_optimizer(self.network, self.cfg)
        set_lr(self.optimizer, self.cfg.SOLVER.WARMUP_START_LR)
        self.steps = GradientSteps(self.cfg, self.network, self.optimizer, device)
        self.loss_of = loss_from(self.cfg)
        self.inputs = random_inputs(self.cfg, device, batch)
        self.labels = torch.arange(batch, device=device) % self.cfg.MODEL.NUM_CLASSES

    def __call__(self) -> None:
        """As the training loop does it: forward, loss, backward, step, gradients gone."""
        self.steps.backward_and_step(self.loss(), 0, 1)

    def loss(self) -> Tensor:
        with autocast(self.cfg, self.device):
            return self.loss_of(self.network(self.inputs), self.labels)

    def saved_bytes(self) -> int:
        """What the forward pass keeps for the backward pass."""
        with count_saved(self.network) as saved:
            self.loss()
        return saved.total()


def seconds_of_a_clip(config: Path, pairs: Sequence[str], device: torch.device) -> float:
    """Seconds that training takes for a clip in one process, data loading left out; from one step after another."""
    cfg = load_cfg(str(config), pairs)
    batch = cfg.TRAIN.BATCH_SIZE // max(1, cfg.NUM_GPUS) if device.type == "cuda" else 2
    step = TrainingStep(config, pairs, batch, device)
    step()
    return seconds_of(step, device) / batch


def keep_bins(model: nn.Module, share: float) -> None:
    """Have every SGS layer put its frames into that share of bins, in place; all else of it runs, backward as well.

    What SGS makes of random clips depends on weights that nobody has trained.
    """

    def add_up(layer: TemporalSampler, measured: Measured, host_bins: np.ndarray) -> Tensor | PackedClips:
        return TemporalSampler.add_up(layer, measured, fewer_bins(host_bins, share))

    for layer in model.modules():
        if isinstance(layer, TemporalSampler):
            layer.add_up = partial(add_up, layer)


def fewer_bins(bins: np.ndarray, share: float) -> np.ndarray:
    """The bins (N, T, K) of N clips of T frames, replaced by as many as `ragged_lengths` has, neighbours together."""
    num_clips, frames = bins.shape[:2]
    kept = np.array(ragged_lengths(frames, num_clips, share))
    return np.broadcast_to((np.arange(frames) * kept[:, None] // frames)[..., None], bins.shape).astype(bins.dtype)


def benchmark_train(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """Training steps of ATFR over those of the base network, and of both with all stages checkpointed."""
    figures = []
    for name, subject in SUBJECTS.items():
        figures += compare_steps(name, subject, configs, rounds=rounds, device=device)
        if device.type == "cuda":
            figures += measure_alone(name, subject, configs, rounds=rounds, device=device)
    return figures


def compare_steps(
    name: str, subject: Subject, configs: Path, *, rounds: int, device: torch.device, pairs: Sequence[str] = ()
) -> list[Figure]:
    """Ratios of times and of saved bytes, float32; `pairs` are KEY VALUE pairs for all configs."""
    base, atfr = _configs(subject, configs)
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


def _configs(subject: Subject, configs: Path) -> tuple[Path, Path]:
    base = configs / subject.config
    return base, base.with_name(f"{base.stem}_ATFR.yaml")


def measure_alone(
    name: str, subject: Subject, configs: Path, *, rounds: int, device: torch.device, pairs: Sequence[str] = ()
) -> list[Figure]:
    """Milliseconds of a step, peak memory and the largest batch that fits, of each kind of step alone on a GPU."""
    figures, batch = [], subject.batch[1]
    for network, config in zip(("base", "ATFR"), _configs(subject, configs), strict=True):
        for kind, own in (
            ("float32", ()),
            ("bfloat16", BF16),
            ("float32, checkpointed", CHECKPOINTED),
            ("bfloat16, checkpointed", (*BF16, *CHECKPOINTED)),
        ):
            title, make = f"{name}, {network}, {kind}", partial(TrainingStep, config, (*pairs, *own), device=device)
            free_memory()
            torch.cuda.reset_peak_memory_stats(device)
            seconds = in_turn({title: make(batch)}, rounds=rounds, device=device, title=title)[title]
            peak = torch.cuda.max_memory_allocated(device) / 2**30
            most = largest(lambda size, make=make: fits(lambda: make(size)()), start=batch)
            figures += [
                Figure(f"{title}: a step", tuple((seconds * 1e3).tolist()), unit="ms", note=f"{batch} clips"),
                Figure(f"{title}: peak memory", (peak,), unit="GiB", note=f"{batch} clips"),
                Figure(f"{title}: largest batch", (most,), unit="clips", note="or more" if most == MOST else ""),
            ]
    return figures


def fits(task: Callable[[], None]) -> bool:
    """Whether a GPU has the memory for a task; what it leaves behind is freed."""
    try:
        task()
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        free_memory()


def free_memory() -> None:
    """Give back what nobody holds any more: sampled networks hold themselves."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def largest(fits: Callable[[int], bool], *, start: int, most: int = MOST) -> int:
    """The largest size up to `most` that fits, 0 if none does: doubled while it fits, then bisected."""
    low, high = 0, min(start, most)  # what fits, and what is to be tried
    while fits(high):
        low = high
        if high == most:
            return most
        high = min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
