"""Training: epochs, precise batch norm, checkpoints, validation, resume."""

import logging
from collections.abc import Iterator

import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.datasets.items import Batch
from slowfast_atfr.datasets.mixup import Mix, batch_rng, draw_mix
from slowfast_atfr.datasets.prefetch import prefetch
from slowfast_atfr.engine.checkpoint import is_checkpoint_epoch, is_eval_epoch, save_checkpoint, start_from
from slowfast_atfr.engine.lr_policy import lr_at_epoch
from slowfast_atfr.engine.optimizer import set_lr
from slowfast_atfr.engine.precise_bn import update_precise_bn
from slowfast_atfr.engine.run import Cost, Run, build_run, to_inputs, watch_cost
from slowfast_atfr.engine.skips import SkipLog
from slowfast_atfr.utils.distributed import RankInfo, share_buffers
from slowfast_atfr.utils.env import seed_everything
from slowfast_atfr.utils.meters import TrainMeter, ValMeter, progress

logger = logging.getLogger(__name__)


def train(cfg: CfgNode, rank: RankInfo) -> None:
    """Train as cfg says, from the newest checkpoint of OUTPUT_DIR if there is one; all processes call it."""
    lr_at_epoch(cfg, 0)  # a policy that cannot be is told before anything is built
    seed_everything(cfg.RNG_SEED, rank.rank)
    run = build_run(cfg, rank)
    start_epoch = start_from(cfg, run.network, run.optimizer)
    logger.info("training starts with epoch %d of %d", start_epoch + 1, cfg.SOLVER.MAX_EPOCH)
    train_meter, val_meter = TrainMeter(len(run.train_loader), cfg), ValMeter(len(run.val_loader), cfg)
    skips = SkipLog()
    with watch_cost(run.network, cfg) as cost:
        for epoch in range(start_epoch, cfg.SOLVER.MAX_EPOCH):
            train_epoch(run, epoch, train_meter, cost, skips)
            is_checkpoint, is_eval = is_checkpoint_epoch(cfg, epoch), is_eval_epoch(cfg, epoch)
            if is_checkpoint or is_eval:
                if cfg.BN.USE_PRECISE_STATS:
                    update_precise_bn(run.network, _train_inputs(run, epoch), cfg.BN.NUM_BATCHES_PRECISE)
                share_buffers(run.network)  # what is saved and validated is one network
            if is_checkpoint:
                save_checkpoint(cfg, run.network, run.optimizer, epoch)
            if is_eval:
                eval_epoch(run, epoch, val_meter, cost, skips)


def train_epoch(run: Run, epoch: int, meter: TrainMeter, cost: Cost, skips: SkipLog) -> None:
    """One pass over the training clips of this process."""
    run.model.train()
    run.train_loader.set_epoch(epoch)
    meter.reset()
    meter.iter_tic()
    batches = prefetch(progress(run.train_loader, f"epoch {epoch + 1}"), run.rank.device)
    for iteration, batch in enumerate(batches):
        meter.data_toc()
        skips.add(batch.skipped)
        lr = lr_at_epoch(run.cfg, epoch + iteration / len(run.train_loader))
        set_lr(run.optimizer, lr)
        labels = targets = batch.labels
        inputs = to_inputs(batch, run.cfg, run.rank.device)
        mix = _mix(run, inputs, epoch, iteration)
        if mix is not None:
            mix.mix_clips(inputs)
            targets = mix.mix_labels(labels, run.cfg.MODEL.NUM_CLASSES, run.cfg.MIXUP.LABEL_SMOOTH_VALUE)
        scores = run.model(inputs)
        loss = run.loss(scores, targets)
        _check_finite(loss, batch, run, epoch, iteration)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
        if mix is not None:
            scores, labels = mix.one_label(scores, labels)
        meter.update(loss=loss, scores=scores, labels=labels, lr=lr, extra=cost.take())
        meter.iter_toc()
        meter.log_iter_stats(epoch, iteration)
        meter.iter_tic()
    meter.log_epoch_stats(epoch, num_skipped=skips.total())


@torch.no_grad()
def eval_epoch(run: Run, epoch: int, meter: ValMeter, cost: Cost, skips: SkipLog) -> None:
    """One pass over the validation clips of this process, each clip once."""
    run.network.eval()
    meter.reset()
    meter.iter_tic()
    batches = prefetch(progress(run.val_loader, f"validation {epoch + 1}"), run.rank.device)
    for iteration, batch in enumerate(batches):
        meter.data_toc()
        skips.add(batch.skipped)
        if batch.frames is not None:
            scores = run.network(to_inputs(batch, run.cfg, run.rank.device))
            meter.update(scores=scores, labels=batch.labels, extra=cost.take())
        meter.iter_toc()
        meter.log_iter_stats(epoch, iteration)
        meter.iter_tic()
    meter.log_epoch_stats(epoch, num_skipped=skips.total())


def _train_inputs(run: Run, epoch: int) -> Iterator[list[Tensor]]:
    """The clips of the epoch once more, not mixed."""
    run.train_loader.set_epoch(epoch)
    for batch in prefetch(progress(run.train_loader, f"precise batch norm {epoch + 1}"), run.rank.device):
        yield to_inputs(batch, run.cfg, run.rank.device)


def _mix(run: Run, inputs: list[Tensor], epoch: int, iteration: int) -> Mix | None:
    """How this process mixes its batch; None without MIXUP.ENABLE."""
    if not run.cfg.MIXUP.ENABLE:
        return None
    rng = batch_rng(run.cfg.RNG_SEED, epoch=epoch, iteration=iteration, rank=run.rank.rank)
    return draw_mix(run.cfg, *inputs[0].shape[-2:], rng)


def _check_finite(loss: Tensor, batch: Batch, run: Run, epoch: int, iteration: int) -> None:
    if not torch.isfinite(loss):
        names = ", ".join(run.train_loader.dataset.path(index) for index in batch.index.tolist())
        raise FloatingPointError(
            f"the loss is {loss.item()} in iteration {iteration + 1} of epoch {epoch + 1}, with the videos {names}; "
            f"lower SOLVER.BASE_LR ({run.cfg.SOLVER.BASE_LR}) or warm up for longer (SOLVER.WARMUP_EPOCHS)"
        )
