"""Training: epochs, precise batch norm, checkpoints, validation, resume."""

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.datasets.augmentation.mixup import Mix, batch_rng, draw_mix
from slowfast_atfr.datasets.items import Batch
from slowfast_atfr.datasets.loader import build_train_loader
from slowfast_atfr.datasets.prefetch import prefetch
from slowfast_atfr.engine.checkpoint.save import save_checkpoint
from slowfast_atfr.engine.loss_guard import LossGuard, agree
from slowfast_atfr.engine.lr_policy import lr_at_epoch
from slowfast_atfr.engine.metrics.meters import TrainMeter, ValMeter, progress
from slowfast_atfr.engine.metrics.tensorboard import TensorBoard
from slowfast_atfr.engine.optimizer import set_lr
from slowfast_atfr.engine.precise_bn import update_precise_bn
from slowfast_atfr.engine.run import Cost, Run, build_run, enter_phase, to_inputs, watch_cost
from slowfast_atfr.engine.run_state import RunState
from slowfast_atfr.engine.skips import SkipLog
from slowfast_atfr.engine.step import autocast
from slowfast_atfr.models.single_values import named_norms
from slowfast_atfr.utils.distributed import RankInfo, gather_objects, in_any_process, share_buffers
from slowfast_atfr.utils.env import get_rng_state, seed_everything, set_rng_state
from slowfast_atfr.utils.precision import allow_tf32
from slowfast_atfr.utils.stop import Stopped, StopRequest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunMonitors:
    """What measures a run and saves its progress, the same from epoch to epoch.

    board: of the main process, with TENSORBOARD.ENABLE.
    """

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
        save_checkpoint(run.schedule.cfg, run.network, run.optimizer, epoch, self.state)

    def log_validation(self, run: Run, epoch: int) -> None:
        """Report the validation of an epoch; a collective."""
        stats = self.val.log_epoch_stats(epoch, num_skipped=self.skips.total())
        if self.board is not None:
            self.board.add("Val", stats, (epoch + 1) * len(run.val_loader) - 1)

    def any_stop_requested(self) -> bool:
        """Whether any process of the run has been asked to stop; a collective."""
        return in_any_process(self.stop.requested)

    def stopped(self, run: Run, where: str) -> Stopped:
        """The error that ends a saved run; where: such as "in the validation of epoch 3"."""
        how = "by the same command" if run.cfg.TRAIN.AUTO_RESUME else "with TRAIN.AUTO_RESUME True"
        return self.stop.stopped(where, f"its progress is saved. Start it again {how} to resume")


def train(cfg: CfgNode, rank: RankInfo) -> None:
    """Train as cfg says, from the newest checkpoint of OUTPUT_DIR if there is one. A collective.

    Raises:
        FloatingPointError: if the loss is not finite or explodes.
        Stopped: after SIGTERM or Ctrl-C to one of the processes, with a checkpoint written.
    """
    seed_everything(cfg.RNG_SEED, rank.rank)
    allow_tf32(cfg.ALLOW_TF32, rank.device)
    run, start = build_run(cfg, rank)
    max_epoch = run.schedule.max_epoch
    meter, val_meter = TrainMeter(len(run.train_loader), run.cfg), ValMeter(len(run.val_loader), run.cfg)
    guard = LossGuard(cfg.TRAIN.KILL_LOSS_EXPLOSION_FACTOR)
    parts = {"scaler_state": run.steps.scaler} if run.steps.scaler.is_enabled() else {}
    parts |= {} if run.ema is None else {"ema_state": run.ema}
    parts |= {"val_state": val_meter, "loss_state": guard}
    state = RunState(parts, {"epoch_state": meter})
    start_epoch = start.restore(run.optimizer, state)
    del start  # frees the file's tensors
    if start_epoch < max_epoch:
        logger.info("training starts with epoch %d of %d", start_epoch + 1, max_epoch)
    else:
        logger.warning("nothing is left to train: the run has %d epochs, and %d are done", max_epoch, start_epoch)
    with watch_cost(run.network, cfg) as cost, _board(run, start_epoch, state) as board:
        monitors = RunMonitors(meter, val_meter, guard, SkipLog(), state, cost, rank.stop, board)
        if state.unvalidated:
            run = enter_phase(run, start_epoch - 1)
            _validate(run, start_epoch - 1, monitors, saved=True)
        for epoch in range(start_epoch, max_epoch):
            if monitors.any_stop_requested():
                if epoch > start_epoch:
                    monitors.save(run, epoch - 1)
                raise monitors.stopped(run, f"before epoch {epoch + 1}")
            run = enter_phase(run, epoch)
            train_epoch(run, epoch, monitors)
            _end_epoch(run, epoch, monitors)
        if monitors.any_stop_requested():
            raise monitors.stopped(run, "after the last epoch")


def _end_epoch(run: Run, epoch: int, monitors: RunMonitors) -> None:
    """Run what is due after an epoch: precise batch norm, checkpoint, validation.

    The checkpoint is written before the validation, marked as not validated, and again after it: a run that is killed
    in between validates when it resumes.
    """
    saves = run.schedule.is_due(epoch, run.cfg.TRAIN.CHECKPOINT_PERIOD)
    validates = run.schedule.is_due(epoch, run.cfg.TRAIN.EVAL_PERIOD)
    if saves or validates:
        _settle_statistics(run, epoch, monitors)
    monitors.state.clips, monitors.state.unvalidated = 0, validates
    if saves:
        monitors.save(run, epoch)
    if validates:
        _validate(run, epoch, monitors, saved=saves)


def _settle_statistics(run: Run, epoch: int, monitors: RunMonitors) -> None:
    """Give all processes the batch norm statistics to save and validate, of the network and of its average."""
    rng_state = get_rng_state()
    try:
        for weights in (nullcontext(), *([run.ema.applied(run.network)] if run.ema is not None else [])):
            with weights:
                if run.cfg.BN.USE_PRECISE_STATS:
                    inputs = _train_inputs(run, epoch, monitors)
                    with named_norms(run.network):
                        update_precise_bn(run.network, inputs, run.cfg.BN.NUM_BATCHES_PRECISE)
                share_buffers(run.network)
    except Stopped:
        set_rng_state(rng_state)  # dropout has drawn from it, and will again at the resume
        monitors.save(run, epoch - 1)  # with all clips of the epoch: a resumed run starts here
        raise


def _validate(run: Run, epoch: int, monitors: RunMonitors, *, saved: bool) -> None:
    """Validate an epoch and update its checkpoint, if it has one."""
    eval_epoch(run, epoch, monitors)
    if monitors.any_stop_requested():
        if not saved:
            monitors.save(run, epoch)
        raise monitors.stopped(run, f"in the validation of epoch {epoch + 1}")
    monitors.log_validation(run, epoch)
    monitors.state.unvalidated, monitors.stop.progress = False, True
    if saved:
        monitors.save(run, epoch)


def train_epoch(run: Run, epoch: int, monitors: RunMonitors) -> None:
    """One pass over the training clips of this process, or the rest of it after a resume within the epoch."""
    cfg, meter, device, num_iters = run.cfg, monitors.train, run.rank.device, len(run.train_loader)
    first = run.train_loader.first_batch_after(monitors.state.clips)
    run.model.train()
    run.train_loader.set_epoch(epoch, first)
    meter.start(num_iters, resume=first > 0)
    batches = prefetch(progress(run.train_loader, f"epoch {epoch + 1}"), device)
    for iteration, batch in enumerate(batches, start=first):
        meter.data_toc()
        monitors.skips.add(batch.skipped)
        lr = lr_at_epoch(cfg, epoch + iteration / num_iters)
        set_lr(run.optimizer, lr)
        labels = targets = batch.labels
        inputs = to_inputs(batch, cfg, device)
        mix = _mix(run, inputs, epoch, iteration)
        if mix is not None:
            mix.mix_clips(inputs)
            targets = mix.mix_labels(labels, cfg.MODEL.NUM_CLASSES, cfg.MIXUP.LABEL_SMOOTH_VALUE)
        with run.steps.synced(iteration, num_iters), autocast(cfg, device), named_norms(run.network):
            scores = run.model(inputs)
            loss = run.loss(scores, targets)
        mean_loss, stop = agree(loss, monitors.stop.requested)
        _check_loss(mean_loss, batch, run, monitors.guard, f"iteration {iteration + 1} of epoch {epoch + 1}")
        stepped = run.steps.backward_and_step(loss, iteration, num_iters)
        if stepped and run.ema is not None:
            run.ema.update(run.network)
        if mix is not None:
            scores, labels = mix.one_label(scores, labels)
        costs = monitors.cost.of_last_batch()
        meter.update(loss=loss, scores=scores, labels=labels, lr=lr, grad_norm=run.steps.grad_norm, extra=costs)
        meter.iter_toc()
        stats = meter.log_iter_stats(epoch, iteration)
        if monitors.board is not None:
            monitors.board.note(costs)
            monitors.board.add("Train", stats or {}, epoch * num_iters + iteration)
        if stepped:
            monitors.stop.progress = True
            monitors.state.clips = run.train_loader.clips_before(iteration + 1)
            _save_within(run, epoch, iteration, num_iters, monitors, stop)
        meter.iter_tic()
    if meter.is_reported:
        logger.info("the means of epoch %d are in the log of the run that trained it", epoch + 1)
        return
    stats = meter.log_epoch_stats(epoch, num_skipped=monitors.skips.total())
    if monitors.board is not None:
        step = (epoch + 1) * num_iters - 1
        monitors.board.add("Train_epoch", stats, step)
        monitors.board.add_histograms(step)


@torch.no_grad()
def eval_epoch(run: Run, epoch: int, monitors: RunMonitors) -> None:
    """One pass over the validation clips of this process, with the average of weights if there is one."""
    cfg, meter, device = run.cfg, monitors.val, run.rank.device
    run.network.eval()
    meter.start(len(run.val_loader))
    batches = prefetch(progress(run.val_loader, f"validation {epoch + 1}"), device)
    with nullcontext() if run.ema is None else run.ema.applied(run.network):
        for iteration, batch in enumerate(batches):
            if monitors.stop.requested:
                break
            meter.data_toc()
            monitors.skips.add(batch.skipped)
            if batch.frames is not None:
                with autocast(cfg, device):
                    scores = run.network(to_inputs(batch, cfg, device))
                meter.update(scores=scores, labels=batch.labels, extra=monitors.cost.of_last_batch())
            meter.iter_toc()
            meter.log_iter_stats(epoch, iteration)
            meter.iter_tic()


@contextmanager
def _board(run: Run, start_epoch: int, state: RunState) -> Iterator[TensorBoard | None]:
    """The main process's TensorBoard, if the config asks for one; closed afterwards."""
    if not run.cfg.TENSORBOARD.ENABLE or run.rank.rank:
        yield None
        return
    done = start_epoch * len(run.train_loader) + run.train_loader.first_batch_after(state.clips)
    first_step = max(done, start_epoch * len(run.val_loader))
    with closing(TensorBoard(run.cfg, first_step=first_step)) as board:
        yield board


def _train_inputs(run: Run, epoch: int, monitors: RunMonitors) -> Iterator[list[Tensor]]:
    """The clips of the epoch again, not mixed, all at the phase's full crop. Raises Stopped on every process."""
    loader = build_train_loader(run.cfg, run.rank) if run.cfg.MULTIGRID.SHORT_CYCLE else run.train_loader
    loader.set_epoch(epoch)
    for batch in prefetch(progress(loader, f"precise batch norm {epoch + 1}"), run.rank.device):
        if monitors.any_stop_requested():
            raise monitors.stopped(run, f"in the precise batch norm of epoch {epoch + 1}")
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


def _save_within(run: Run, epoch: int, iteration: int, num_iters: int, monitors: RunMonitors, stop: bool) -> None:
    """Write a checkpoint within an epoch where one is due or the run has been asked to stop."""
    every, is_last = run.cfg.TRAIN.CHECKPOINT_ITERATIONS, iteration + 1 == num_iters
    if stop or (every and (iteration + 1) % every == 0 and not is_last):
        monitors.save(run, epoch - 1)
    if stop:
        raise monitors.stopped(run, f"after iteration {iteration + 1} of epoch {epoch + 1}")
