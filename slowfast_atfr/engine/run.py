"""Everything that the training loop works on, built once."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from slowfast_atfr.analysis import count_macs, model_summary
from slowfast_atfr.config import num_pathways
from slowfast_atfr.datasets.loader import Batch, Loader, TrainLoader, build_loader, build_train_loader
from slowfast_atfr.engine.checkpoint.save import load_for_test
from slowfast_atfr.engine.config_warnings import warn_of_config, warn_of_ends
from slowfast_atfr.engine.ema import Ema
from slowfast_atfr.engine.launch.consistency import check_videos
from slowfast_atfr.engine.losses import loss_from
from slowfast_atfr.engine.lr_policy import lr_at_epoch
from slowfast_atfr.engine.multigrid import MultigridSchedule, Phase, check_processes
from slowfast_atfr.engine.optimizer import build_optimizer
from slowfast_atfr.engine.start import Start, find_start
from slowfast_atfr.engine.step import GradientSteps
from slowfast_atfr.models import build_model, fold_norms
from slowfast_atfr.models.compiled import check_compiler
from slowfast_atfr.models.inputs import pathways
from slowfast_atfr.models.norm import set_norm
from slowfast_atfr.sgs import count_active
from slowfast_atfr.sgs.record import active_name
from slowfast_atfr.utils.distributed import RankInfo, share_state

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A training run of one process.

    cfg: of its current phase (`MultigridSchedule.cfg_of`); the user's is schedule.cfg.
    network: without DDP, as checkpoints have it.
    model: what is called: the network, within DDP where there are several processes.
    """

    cfg: CfgNode
    rank: RankInfo
    schedule: MultigridSchedule
    network: nn.Module
    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: GradientSteps
    ema: Ema | None
    loss: Callable[[Tensor, Tensor], Tensor]
    train_loader: TrainLoader
    val_loader: Loader


def build_run(cfg: CfgNode, rank: RankInfo) -> tuple[Run, Start]:
    """Build a run in its first phase, with its starting weights; return it and the `Start` that restores the rest.

    Loaders are built first, so that a wrong path is reported before the network is built. Weights are loaded before DDP
    and the average are made from them.
    """
    schedule = MultigridSchedule(cfg, processes=rank.local_world_size)
    check_processes(schedule.phases, rank.world_size)
    user_cfg, cfg = cfg, schedule.cfg_of(schedule.phases[0])
    train_loader, val_loader = _loaders(cfg, schedule, 0, rank)
    for loader in (train_loader, val_loader):
        check_videos(loader.dataset, cfg)
    start = find_start(user_cfg, max_epoch=schedule.max_epoch)
    network = build_network(cfg, rank)
    start.load_weights(network)
    optimizer = build_optimizer(network, cfg)
    model = network
    if rank.world_size > 1:
        device_ids = [rank.device.index] if rank.device.type == "cuda" else None
        # buffers are shared before saving and validation, by `share_buffers`
        model = DistributedDataParallel(network, device_ids=device_ids, broadcast_buffers=False)
    steps = GradientSteps(cfg, model, optimizer, rank.device)
    ema = Ema(network, cfg.SOLVER.EMA_DECAY) if cfg.SOLVER.EMA_DECAY else None
    loss = loss_from(cfg)
    _log_batches(cfg, schedule.phases[0], rank)
    return Run(cfg, rank, schedule, network, model, optimizer, steps, ema, loss, train_loader, val_loader), start


def enter_phase(run: Run, epoch: int) -> Run:
    """Return the run for an epoch; in a new phase it has new loaders, and its norms change in place. A collective.

    Weights, optimizer, gradient scaler and average stay.
    """
    phase = run.schedule.at(epoch)
    cfg = run.schedule.cfg_of(phase)
    if cfg == run.cfg:
        return run
    train_loader, val_loader = _loaders(cfg, run.schedule, epoch, run.rank)
    norms = {"num_splits": phase.norm_splits, "sync_devices": phase.sync_devices, "timeout": cfg.DIST_TIMEOUT}
    set_norm(run.network, **norms)
    _log_batches(cfg, phase, run.rank)
    return replace(run, cfg=cfg, train_loader=train_loader, val_loader=val_loader)


def _log_batches(cfg: CfgNode, phase: Phase, rank: RankInfo) -> None:
    """Log how the batch is split over processes, and the learning rate: the most frequent mistakes in a config."""
    machines, steps = rank.world_size // rank.local_world_size, cfg.SOLVER.GRAD_ACCUM_STEPS
    mine = phase.batch_size // rank.local_world_size
    together = mine * min(phase.sync_devices, rank.world_size) / phase.norm_splits
    logger.info(
        "epochs %d to %d: clips of %d frames and %d pixels; %d clips an iteration: %d on each of %d process(es), %d on "
        "each of %d machine(s); %d a step; batch norm (%s) over %g clips; learning rate from %g",
        phase.first_epoch + 1, phase.end_epoch, phase.num_frames, phase.crop_size, mine * rank.world_size, mine,
        rank.world_size, phase.batch_size, machines, mine * rank.world_size * steps, phase.norm, together,
        lr_at_epoch(cfg, phase.first_epoch),
    )  # fmt: skip
    if phase.short_cycle:
        pairs = zip(phase.short_cycle, phase.short_cycle_crops, strict=True)
        text = ", ".join(f"{size * machines} of {crop} pixels" for size, crop in pairs)
        logger.info("clips of an iteration, in turn: %s", text)
    if machines > 1 and not cfg.SOLVER.BASE_LR_SCALE_NUM_SHARDS:
        logger.info(
            "SOLVER.BASE_LR_SCALE_NUM_SHARDS is False: SOLVER.BASE_LR is taken as that of all %d machines together",
            machines,
        )


def _loaders(cfg: CfgNode, schedule: MultigridSchedule, epoch: int, rank: RankInfo) -> tuple[TrainLoader, Loader]:
    phase = schedule.at(epoch)
    short_cycle = list(zip(phase.short_cycle, phase.short_cycle_crops, strict=True))
    return build_train_loader(cfg, rank, short_cycle), build_loader(cfg, "val", rank)


def build_network(cfg: CfgNode, rank: RankInfo) -> nn.Module:
    """Build the network on its device; with LOG_MODEL_INFO log its structure and the cost of each layer per clip."""
    if rank.local_rank == 0:
        warn_of_config(cfg, rank.device)
    if cfg.MODEL.COMPILE:
        check_compiler(rank.device)
    network = build_model(cfg).to(rank.device)
    if rank.local_rank == 0:
        warn_of_ends(cfg, network)
    if cfg.LOG_MODEL_INFO and rank.rank == 0:
        logger.info("Model:\n%s", network)
        logger.info("Params: %s", f"{sum(parameter.numel() for parameter in network.parameters()):,}")
        _log_summary(cfg)
    return network


def build_for_test(cfg: CfgNode, rank: RankInfo) -> tuple[nn.Module, str]:
    """Build the network for evaluation, with the weights of `load_for_test`; TEST.FOLD_NORMS folds its norms.

    Returns:
        the network, with the same weights on all processes; the path of their file.
    """
    network = build_network(cfg, rank)
    path = load_for_test(cfg, network)
    share_state(network)
    logger.info("testing %s", path)
    network.eval()
    return (fold_norms(network) if cfg.TEST.FOLD_NORMS else network), path


def _log_summary(cfg: CfgNode) -> None:
    """Log the cost of each layer; only warn if a registered network does not run on the meta device."""
    try:
        summary = model_summary(cfg)
    except Exception as error:
        text = "%s cannot be summarised on the meta device: %s: %s"
        logger.warning(text, cfg.MODEL.MODEL_NAME, type(error).__name__, error)
        return
    bins = ", every bin of SGS active" if cfg.SGS.ENABLE else ""
    logger.info("Flops: %s G (a clip of %d pixels%s)", f"{summary.gflops:,.4f}", cfg.DATA.TRAIN_CROP_SIZE, bins)
    logger.info("Layers:\n%s", summary)


def to_inputs(batch: Batch, cfg: CfgNode, device: torch.device) -> list[Tensor]:
    """The pathways' (N, 3, T_p, H, W) float clips of a batch of uint8 frames, normalised on the device."""
    return pathways(batch.frames.to(device, non_blocking=True), cfg)


class Cost:
    """The cost of each clip: multiply-adds, and active bins of every SGS layer."""

    def __init__(self, cfg: CfgNode, macs, active) -> None:
        self._single, self._macs, self._active = num_pathways(cfg) == 1, macs, active

    def of_last_batch(self) -> dict[str, np.ndarray]:
        """Return (N,) values by name, of the clips of the last forward: gflops_per_clip, active_bins_s2_fast, ..."""
        clips = {"gflops_per_clip": self._macs.read_and_reset() * 1e-9}
        for layer, bins in self._active.read_and_reset().items():
            clips[active_name(layer, single=self._single)] = bins.astype(np.float64)
        return clips


@contextmanager
def watch_cost(network: nn.Module, cfg: CfgNode) -> Iterator[Cost]:
    """Count the cost of each clip within the block, without waiting for the device."""
    with ExitStack() as stack:
        yield Cost(cfg, stack.enter_context(count_macs(network)), stack.enter_context(count_active(network)))
