"""Training: epochs, precise batch norm, checkpoints, validation, resume."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.datasets.items import Batch
from slowfast_atfr.datasets.loader import build_train_loader
from slowfast_atfr.datasets.mixup import Mix, batch_rng, draw_mix
from slowfast_atfr.datasets.prefetch import prefetch
from slowfast_atfr.engine.checkpoint import save_checkpoint, start_from
from slowfast_atfr.engine.loss_guard import LossGuard, agree
from slowfast_atfr.engine.lr_policy import lr_at_epoch
from slowfast_atfr.engine.optimizer import set_lr
from slowfast_atfr.engine.precise_bn import update_precise_bn
from slowfast_atfr.engine.run import Cost, Run, build_run, enter_phase, to_inputs, watch_cost
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.engine.skips import SkipLog
from slowfast_atfr.engine.step import autocast
from slowfast_atfr.engine.stop import Stopped, StopRequest, stop_on_sigterm
from slowfast_atfr.utils.distributed import RankInfo, gather_objects, share_buffers
from slowfast_atfr.utils.env import seed_everything
from slowfast_atfr.utils.meters import TrainMeter, ValMeter, progress
from slowfast_atfr.utils.precision import allow_tf32
from slowfast_atfr.utils.tensorboard import TensorBoard, step_at

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watch:
    """What goes along with a run from epoch to epoch.

    cfg: the user's, whatever phase the run is in.
    board: of the main process, with TENSORBOARD.ENABLE.
    """

    cfg: CfgNode
    train: TrainMeter
    val: ValMeter
    guard: LossGuard
    skips: SkipLog
    state: RunState
    cost: Cost
    stop: StopRequest
    board: TensorBoard | None

    def save(self, run: Run, epoch: int) -> None:
        """Write a checkpoint; epoch: the last one that is done, from 0."""
        save_checkpoint(self.cfg, run.network, run.optimizer, epoch, self.state)


def train(cfg: CfgNode, rank: RankInfo) -> None:
    """Train as cfg says, from the newest checkpoint of OUTPUT_DIR if there is one; all processes call it.

    Raises:
        FloatingPointError: if the loss is not finite, or explodes.
        Stopped: after a SIGTERM to one of the processes, when a checkpoint has been written.
    """
    lr_at_epoch(cfg, 0)  # a policy that cannot be is told before anything is built
    seed_everything(cfg.RNG_SEED, rank.rank)
    allow_tf32(cfg.ALLOW_TF32, rank.device)
    run = build_run(cfg, rank)
    max_epoch = run.schedule.max_epoch
    meters = TrainMeter(len(run.train_loader), run.cfg), ValMeter(len(run.val_loader), run.cfg)
    guard = LossGuard(cfg.TRAIN.KILL_LOSS_EXPLOSION_FACTOR)
    parts = {"scaler_state": run.steps.scaler, "ema_state": run.ema, "val_state": meters[1], "loss_state": guard}
    off = {"scaler_state": not run.steps.scaler.is_enabled(), "ema_state": run.ema is None}
    state = RunState({k: part for k, part in parts.items() if not off.get(k)}, {"epoch_state": meters[0]})
    start_epoch = start_from(cfg, run.network, run.optimizer, state, max_epoch=max_epoch)
    logger.info("training starts with epoch %d of %d", start_epoch + 1, max_epoch)
    done = start_epoch + state.clips / run.train_loader.num_videos
    with watch_cost(run.network, cfg) as cost, stop_on_sigterm() as stop, _board(cfg, rank, done) as board:
        watch = Watch(cfg, *meters, guard, SkipLog(), state, cost, stop, board)
        for epoch in range(start_epoch, max_epoch):
            run = enter_phase(run, epoch)
            train_epoch(run, epoch, watch)
            is_checkpoint = run.schedule.is_due(epoch, cfg.TRAIN.CHECKPOINT_PERIOD)
            is_eval = run.schedule.is_due(epoch, cfg.TRAIN.EVAL_PERIOD)
            if is_checkpoint or is_eval:
                if cfg.BN.USE_PRECISE_STATS:
                    update_precise_bn(run.network, _train_inputs(run, epoch), cfg.BN.NUM_BATCHES_PRECISE)
                share_buffers(run.network)  # what is saved and validated is one network
            if is_checkpoint:
                watch.save(run, epoch)
            if is_eval:
                eval_epoch(run, epoch, watch)


def train_epoch(run: Run, epoch: int, watch: Watch) -> None:
    """One pass over the training clips of this process, or what is left of it after a resume within the epoch."""
    cfg, meter, device, num_iters = run.cfg, watch.train, run.rank.device, len(run.train_loader)
    first = run.train_loader.batch_behind(watch.state.clips)
    run.model.train()
    run.train_loader.set_epoch(epoch, first)
    meter.start(num_iters, go_on=first > 0)
    batches = prefetch(progress(run.train_loader, f"epoch {epoch + 1}"), device)
    for iteration, batch in enumerate(batches, start=first):
        meter.data_toc()
        watch.skips.add(batch.skipped)
        lr = lr_at_epoch(cfg, epoch + iteration / num_iters)
        set_lr(run.optimizer, lr)
        labels = targets = batch.labels
        inputs = to_inputs(batch, cfg, device)
        mix = _mix(run, inputs, epoch, iteration)
        if mix is not None:
            mix.mix_clips(inputs)
            targets = mix.mix_labels(labels, cfg.MODEL.NUM_CLASSES, cfg.MIXUP.LABEL_SMOOTH_VALUE)
        with run.steps.synced(iteration, num_iters), autocast(cfg, device):
            scores = run.model(inputs)
            loss = run.loss(scores, targets)
        mean_loss, stop = agree(loss, watch.stop.here)
        _check_loss(mean_loss, batch, run, watch.guard, f"iteration {iteration + 1} of epoch {epoch + 1}")
        stepped = run.steps.take(loss, iteration, num_iters)
        if stepped and run.ema is not None:
            run.ema.update(run.network)
        if mix is not None:
            scores, labels = mix.one_label(scores, labels)
        costs = watch.cost.take()
        meter.update(loss=loss, scores=scores, labels=labels, lr=lr, extra=costs)
        meter.iter_toc()
        stats = meter.log_iter_stats(epoch, iteration)
        if watch.board is not None:
            watch.board.note(costs)
            watch.board.add("train_iter", stats or {}, step_at(epoch, iteration, num_iters))
        if stepped:
            watch.state.clips = run.train_loader.clips_before(iteration + 1)
            _save_within(run, epoch, iteration, num_iters, watch, stop)
        meter.iter_tic()
    watch.state.clips = 0
    stats = meter.log_epoch_stats(epoch, num_skipped=watch.skips.total())
    if watch.board is not None:
        watch.board.add("train_epoch", stats, 1000 * (epoch + 1))
        watch.board.add_histograms(1000 * (epoch + 1))


@torch.no_grad()
def eval_epoch(run: Run, epoch: int, watch: Watch) -> None:
    """One pass over the validation clips of this process, each clip once; of the average of weights if there is one."""
    cfg, meter, device = run.cfg, watch.val, run.rank.device
    run.network.eval()
    meter.start(len(run.val_loader))
    batches = prefetch(progress(run.val_loader, f"validation {epoch + 1}"), device)
    with nullcontext() if run.ema is None else run.ema.applied(run.network):
        for iteration, batch in enumerate(batches):
            meter.data_toc()
            watch.skips.add(batch.skipped)
            if batch.frames is not None:
                with autocast(cfg, device):
                    scores = run.network(to_inputs(batch, cfg, device))
                meter.update(scores=scores, labels=batch.labels, extra=watch.cost.take())
            meter.iter_toc()
            meter.log_iter_stats(epoch, iteration)
            meter.iter_tic()
    stats = meter.log_epoch_stats(epoch, num_skipped=watch.skips.total())
    if watch.board is not None:
        watch.board.add("val_epoch", stats, 1000 * (epoch + 1))


@contextmanager
def _board(cfg: CfgNode, rank: RankInfo, epochs_done: float) -> Iterator[TensorBoard | None]:
    """The main process's TensorBoard, if the config asks for one; closed afterwards."""
    if not cfg.TENSORBOARD.ENABLE or rank.rank:
        yield None
        return
    with closing(TensorBoard(cfg, first_step=round(1000 * epochs_done) + 1)) as board:
        yield board


def _train_inputs(run: Run, epoch: int) -> Iterator[list[Tensor]]:
    """The clips of the epoch once more, not mixed, all of the phase's own crop."""
    loader = build_train_loader(run.cfg, run.rank) if run.cfg.MULTIGRID.SHORT_CYCLE else run.train_loader
    loader.set_epoch(epoch)
    for batch in prefetch(progress(loader, f"precise batch norm {epoch + 1}"), run.rank.device):
        yield to_inputs(batch, run.cfg, run.rank.device)


def _mix(run: Run, inputs: list[Tensor], epoch: int, iteration: int) -> Mix | None:
    """How this process mixes its batch; None without MIXUP.ENABLE."""
    if not run.cfg.MIXUP.ENABLE:
        return None
    rng = batch_rng(run.cfg.RNG_SEED, epoch=epoch, iteration=iteration, rank=run.rank.rank)
    return draw_mix(run.cfg, *inputs[0].shape[-2:], rng)


def _check_loss(loss: float, batch: Batch, run: Run, guard: LossGuard, place: str) -> None:
    problem = guard.problem(loss, place)
    if problem:
        mine = [run.train_loader.dataset.path(index) for index in batch.index.tolist()]
        names = ", ".join(name for names in gather_objects(mine) for name in names)
        raise FloatingPointError(
            f"{problem}. The videos of the batch are {names}. Lower SOLVER.BASE_LR ({run.cfg.SOLVER.BASE_LR}) or warm "
            "up for longer (SOLVER.WARMUP_EPOCHS)"
        )


def _save_within(run: Run, epoch: int, iteration: int, num_iters: int, watch: Watch, stop: bool) -> None:
    """A checkpoint within an epoch, where one is due or the run has been told to stop."""
    every, is_last = run.cfg.TRAIN.CHECKPOINT_ITERATIONS, iteration + 1 == num_iters
    if stop or (every and (iteration + 1) % every == 0 and not is_last):
        watch.save(run, epoch - 1)
    if stop:
        raise Stopped(
            f"the run was told to end (SIGTERM) and has written a checkpoint after iteration {iteration + 1} of epoch "
            f"{epoch + 1}; start it again to go on from there"
        )
