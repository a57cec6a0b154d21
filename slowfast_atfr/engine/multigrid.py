"""Multigrid training (Wu et al., "A Multigrid Method for Efficiently Training Video Models", CVPR 2020): its schedule.

The long cycle goes through clip shapes, from few small frames in a large batch to full clips in a small one, once for
each step of the learning rate; the short cycle changes the crop from batch to batch. A shape that costs 1/b of the full
one has b times the clips in a batch and b times the learning rate. This file is arithmetic on the config: the shape of
each epoch, and the learning rate's steps. The figures are PySlowFast's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError


@dataclass(frozen=True)
class Phase:
    """Clips, batches and batch norm of some epochs.

    first_epoch, end_epoch: epochs first_epoch .. end_epoch - 1, counted from 0.
    num_frames, crop_size: of a clip; crop_size in pixels.
    batch_size: clips in a batch of one machine, as TRAIN.BATCH_SIZE.
    norm: batchnorm, sub_batchnorm, sync_batchnorm.
    norm_splits: separately normalised parts of a process's batch; 1 without sub_batchnorm.
    sync_devices: processes that share their statistics; 1 without sync_batchnorm.
    max_sampling_rate: frames of a clip are DATA.SAMPLING_RATE to max_sampling_rate apart, drawn for each clip.
    short_cycle: batch sizes of the short cycle's three shapes, in turn; () without a short cycle.
    short_cycle_crops: their crops in pixels; the last is crop_size.
    """

    first_epoch: int
    end_epoch: int
    num_frames: int
    crop_size: int
    batch_size: int
    norm: str
    norm_splits: int
    sync_devices: int
    max_sampling_rate: int
    short_cycle: tuple[int, ...]
    short_cycle_crops: tuple[int, ...]


@dataclass(frozen=True)
class _Shape:
    """A shape of the long cycle: batches of times x TRAIN.BATCH_SIZE clips, of `frames` frames of `crop` pixels."""

    times: int
    frames: int
    crop: int


class MultigridSchedule:
    """Phases of a run by epoch, and its learning rate.

    cfg: of the run, as given.
    steps, lrs, max_epoch: replace SOLVER.STEPS, LRS and MAX_EPOCH.
    phases: in order, without empty ones.

    Args:
        cfg: a validated config; without MULTIGRID.LONG_CYCLE there is one phase, with the config's shape.
        processes: of a machine, which share a batch; default max(1, NUM_GPUS).
    Source: PySlowFast's `MultigridSchedule`, with its settings of batch norm, and `ShortCycleBatchSampler`.
    """

    def __init__(self, cfg: CfgNode, *, processes: int | None = None) -> None:
        self.cfg, self._processes = cfg, processes or max(1, cfg.NUM_GPUS)
        solver, multigrid = cfg.SOLVER, cfg.MULTIGRID
        self.steps, self.lrs, self.max_epoch = list(solver.STEPS), list(solver.LRS), solver.MAX_EPOCH
        spans = [(_Shape(1, cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE), None)]
        if multigrid.LONG_CYCLE:
            rows = _long_cycle(cfg)
            ends = [end for _, _, end in rows]
            self.steps = [0, *ends[:-1], (ends[-2] + ends[-1]) // 2]  # half of the last phase is for fine-tuning
            self.lrs = [solver.GAMMA**step * shape.times for step, shape, _ in rows]
            self.lrs[-1:] = self.lrs[-2:]
            self.max_epoch = ends[-1]
            spans = [(shape, end) for _, shape, end in rows]
        elif multigrid.SHORT_CYCLE:
            self.steps = [int(step * multigrid.EPOCH_FACTOR) for step in solver.STEPS]
            self.max_epoch = int(solver.MAX_EPOCH * multigrid.EPOCH_FACTOR)
        self.phases = self._phases(spans)

    def at(self, epoch: int) -> Phase:
        """Return the phase of an epoch, counted from 0; the last phase for epochs past the end."""
        return next((phase for phase in self.phases if epoch < phase.end_epoch), self.phases[-1])

    def is_due(self, epoch: int, period: int) -> bool:
        """Return whether something done every `period` epochs is due at the end of this epoch, counted from 0.

        With MULTIGRID.LONG_CYCLE it is due about EVAL_FREQ times per phase and at its end, for any period. It is always
        due in the last epoch of the run.
        Source: PySlowFast's `is_eval_epoch` and `is_checkpoint_epoch`.
        """
        if epoch + 1 == self.max_epoch or not self.cfg.MULTIGRID.LONG_CYCLE:
            return epoch + 1 == self.max_epoch or (epoch + 1) % period == 0
        phase = self.at(epoch)
        period = (phase.end_epoch - phase.first_epoch) // self.cfg.MULTIGRID.EVAL_FREQ + 1
        return (phase.end_epoch - 1 - epoch) % period == 0

    def cfg_of(self, phase: Phase) -> CfgNode:
        """Return the frozen config of a phase: that of the run with the phase's clips, batches, norm and solver."""
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.SOLVER = self.solver()
        cfg.TRAIN.BATCH_SIZE = phase.batch_size
        cfg.DATA.NUM_FRAMES, cfg.DATA.TRAIN_CROP_SIZE = phase.num_frames, phase.crop_size
        cfg.BN.NORM_TYPE, cfg.BN.NUM_SPLITS = phase.norm, phase.norm_splits
        cfg.BN.NUM_SYNC_DEVICES = phase.sync_devices
        if self.cfg.MULTIGRID.LONG_CYCLE or self.cfg.MULTIGRID.SHORT_CYCLE:
            cfg.MULTIGRID.DEFAULT_S = self.cfg.DATA.TRAIN_CROP_SIZE
            cfg.MULTIGRID.LONG_CYCLE_SAMPLING_RATE = phase.max_sampling_rate
        cfg.freeze()
        return cfg

    def solver(self) -> CfgNode:
        """Return cfg.SOLVER with this schedule's STEPS, LRS and MAX_EPOCH."""
        solver = self.cfg.SOLVER.clone()
        solver.defrost()
        solver.STEPS, solver.LRS, solver.MAX_EPOCH = list(self.steps), list(self.lrs), self.max_epoch
        solver.freeze()
        return solver

    def _phases(self, spans: Sequence[tuple[_Shape, int | None]]) -> tuple[Phase, ...]:
        phases, first, own_shape = [], 0, True
        for shape, end in spans:
            end = self.max_epoch if end is None else end
            if end <= first:
                continue
            own_shape = own_shape and (shape.frames, shape.crop) == self._own_shape
            phases.append(self._phase(shape, first, end, own_shape))
            first = end
        return tuple(phases)

    @property
    def _own_shape(self) -> tuple[int, int]:
        return self.cfg.DATA.NUM_FRAMES, self.cfg.DATA.TRAIN_CROP_SIZE

    def _phase(self, shape: _Shape, first: int, end: int, own_shape: bool) -> Phase:
        """own_shape: whether this phase and all earlier ones have the config's shape, and so its norm."""
        cfg, batch_size = self.cfg, shape.times * self.cfg.TRAIN.BATCH_SIZE
        norm, splits, devices = cfg.BN.NORM_TYPE, cfg.BN.NUM_SPLITS, cfg.BN.NUM_SYNC_DEVICES
        if not own_shape:
            norm, splits, devices = norm_for(batch_size / self._processes, cfg.MULTIGRID.BN_BASE_SIZE)
        crops = short_cycle_crops(cfg, shape.crop) if cfg.MULTIGRID.SHORT_CYCLE else ()
        return Phase(
            first_epoch=first,
            end_epoch=end,
            num_frames=shape.frames,
            crop_size=shape.crop,
            batch_size=batch_size,
            norm=norm,
            norm_splits=splits if norm == "sub_batchnorm" else 1,
            sync_devices=devices if norm == "sync_batchnorm" else 1,
            max_sampling_rate=cfg.DATA.SAMPLING_RATE * (cfg.DATA.NUM_FRAMES // shape.frames),
            short_cycle=_short_cycle_batches(cfg, shape, batch_size),
            short_cycle_crops=crops,
        )


def check_processes(phases: Sequence[Phase], world_size: int) -> None:
    """Check that in every phase the processes divide evenly into groups that share batch norm's statistics.

    Raises:
        ConfigError: naming the first phase in which they do not.
    """
    for phase in phases:
        size = min(phase.sync_devices, world_size)
        if world_size % size:
            raise ConfigError(
                f"in epochs {phase.first_epoch + 1} to {phase.end_epoch} groups of {size} processes share batch norm's "
                f"statistics, and the run has {world_size} processes; choose BN.NUM_SYNC_DEVICES, or with "
                "MULTIGRID.LONG_CYCLE MULTIGRID.BN_BASE_SIZE and TRAIN.BATCH_SIZE, so that every group is full"
            )


def norm_for(batch_size: float, base_size: int) -> tuple[str, int, int]:
    """Return the norm with statistics over about `base_size` clips.

    Args:
        batch_size: clips of a process.
        base_size: MULTIGRID.BN_BASE_SIZE.
    Returns:
        BN.NORM_TYPE, splits of a batch, and processes that share statistics.
    """
    factor = batch_size / base_size
    if factor > 1:
        return "sub_batchnorm", int(factor), 1
    if factor < 1:
        return "sync_batchnorm", 1, int(1 / factor)
    return "batchnorm", 1, 1


def short_cycle_crops(cfg: CfgNode, crop_size: int) -> tuple[int, int, int]:
    """Return the short cycle's three crops in pixels, in a phase with crop `crop_size`."""
    small, middle = (round(factor * cfg.DATA.TRAIN_CROP_SIZE) for factor in cfg.MULTIGRID.SHORT_CYCLE_FACTORS)
    return small, middle, crop_size


def _short_cycle_batches(cfg: CfgNode, shape: _Shape, batch_size: int) -> tuple[int, ...]:
    if not cfg.MULTIGRID.SHORT_CYCLE:
        return ()
    sides = [factor * cfg.DATA.TRAIN_CROP_SIZE for factor in cfg.MULTIGRID.SHORT_CYCLE_FACTORS]
    return (*(batch_size * round((shape.crop / side) ** 2) for side in sides), batch_size)


def _long_cycle(cfg: CfgNode) -> list[tuple[int, _Shape, int]]:
    """Return the rows of the long cycle: (step of the learning rate, shape, end epoch).

    Within a step every shape gets the same number of iterations, so its epochs are proportional to its batch size. The
    last step has the full shape alone, with iterations reduced by the same factor. All is then stretched to
    SOLVER.MAX_EPOCH x MULTIGRID.EPOCH_FACTOR.
    """
    solver, steps = cfg.SOLVER, cfg.SOLVER.STEPS
    shapes, sizes = zip(*(_shape(cfg, *factors) for factors in cfg.MULTIGRID.LONG_CYCLE_FACTORS), strict=True)
    rows = [
        (index, shape, (end - start) * size / sum(sizes))
        for index, (start, end) in enumerate(zip(steps, steps[1:], strict=False))
        for shape, size in zip(shapes, sizes, strict=True)
    ]
    iterations = sum((end - start) / sum(sizes) for start, end in zip(steps, steps[1:], strict=False)) * len(shapes)
    tuning = (solver.MAX_EPOCH - steps[-1]) * iterations / steps[-1] * sizes[-1]
    rows.append((len(steps) - 1, shapes[-1], tuning))
    epochs = np.array([count for _, _, count in rows])
    ends = np.cumsum(epochs * (solver.MAX_EPOCH * cfg.MULTIGRID.EPOCH_FACTOR / epochs.sum()))
    return [(index, shape, round(float(end))) for (index, shape, _), end in zip(rows, ends, strict=True)]


def _shape(cfg: CfgNode, frames_factor: float, crop_factor: float) -> tuple[_Shape, float]:
    """Return a shape of the long cycle, and the mean batch size of its short cycle in units of TRAIN.BATCH_SIZE.

    Raises:
        ConfigError: if a clip would have no frames or pixels.
    """
    frames, crop = round(cfg.DATA.NUM_FRAMES * frames_factor), round(cfg.DATA.TRAIN_CROP_SIZE * crop_factor)
    if frames < 1 or crop < 1:
        raise ConfigError(
            f"MULTIGRID.LONG_CYCLE_FACTORS has ({frames_factor}, {crop_factor}), which makes clips of {frames} frames "
            f"and {crop} pixels; choose larger factors"
        )
    sides = [crop]
    if cfg.MULTIGRID.SHORT_CYCLE:
        sides = [factor * cfg.DATA.TRAIN_CROP_SIZE for factor in cfg.MULTIGRID.SHORT_CYCLE_FACTORS] + sides
    full = cfg.DATA.NUM_FRAMES * cfg.DATA.TRAIN_CROP_SIZE**2
    times = [round(full / (frames * side**2)) for side in sides]
    return _Shape(times[-1], frames, crop), sum(times) / len(times)
