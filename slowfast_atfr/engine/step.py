"""From losses to changed weights: mixed precision, gradient accumulation and clipping."""

import logging
from contextlib import AbstractContextManager, nullcontext

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from slowfast_atfr.utils.precision import lacks_convolutions

logger = logging.getLogger(__name__)


def autocast(cfg: CfgNode, device: torch.device) -> AbstractContextManager:
    """Mixed precision of forward passes, if TRAIN.MIXED_PRECISION."""
    dtype = getattr(torch, cfg.TRAIN.AMP_DTYPE)  # by torch's names
    return torch.autocast(device.type, dtype=dtype, enabled=cfg.TRAIN.MIXED_PRECISION)


def warn_of_slow_precision(cfg: CfgNode, device: torch.device) -> None:
    """Tell that mixed precision makes this device slower, not faster, and what to choose."""
    chosen = cfg.TRAIN.AMP_DTYPE
    if not cfg.TRAIN.MIXED_PRECISION or not lacks_convolutions(getattr(torch, chosen), device):
        return
    (other,) = {"float16", "bfloat16"} - {chosen}
    remedy = "TRAIN.MIXED_PRECISION False"
    if not lacks_convolutions(getattr(torch, other), device):
        remedy = f"TRAIN.AMP_DTYPE {other}, or {remedy}"
    logger.warning(
        "TRAIN.MIXED_PRECISION is True with TRAIN.AMP_DTYPE %s, in which this %s has no fast convolutions: it will be "
        "slow. Choose %s",
        chosen,
        {"cpu": "CPU", "cuda": "GPU"}[device.type],
        remedy,
    )


class GradientSteps:
    """The backward passes and the optimizer's steps of a run.

    Losses of SOLVER.GRAD_ACCUM_STEPS iterations in a row make one step, with the gradient of their mean; so do those
    that are left at the end of an epoch. In half precision the loss is scaled, and a step whose gradients overflow is
    left out. Gradients are clipped at SOLVER.CLIP_GRAD_VAL, or else to a norm of SOLVER.CLIP_GRAD_L2NORM.

    Args:
        cfg: of the run.
        model: that makes the losses, under DDP or not.
        optimizer: of its parameters.
        device: that it is on.
    """

    def __init__(self, cfg: CfgNode, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._solver, self._model, self._optimizer = cfg.SOLVER, model, optimizer
        half = cfg.TRAIN.MIXED_PRECISION and cfg.TRAIN.AMP_DTYPE == "float16"
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)
        self.grad_norm: Tensor | None = None  # before the first step

    def ends_group(self, iteration: int, num_iters: int) -> bool:
        """Whether the optimizer steps after this iteration of an epoch; both count from 0."""
        return (iteration + 1) % self._solver.GRAD_ACCUM_STEPS == 0 or iteration + 1 == num_iters

    def group_size(self, iteration: int, num_iters: int) -> int:
        """Iterations that make a step together with this one."""
        first = iteration - iteration % self._solver.GRAD_ACCUM_STEPS
        return min(self._solver.GRAD_ACCUM_STEPS, num_iters - first)

    def synced(self, iteration: int, num_iters: int) -> AbstractContextManager:
        """Around forward and backward: processes exchange gradients only where the optimizer steps."""
        together = self.ends_group(iteration, num_iters) or not isinstance(self._model, DistributedDataParallel)
        return nullcontext() if together else self._model.no_sync()

    def take(self, loss: Tensor, iteration: int, num_iters: int) -> bool:
        """Backward pass of an iteration's loss, and the step where one is due; whether there was one.

        `grad_norm` is then the norm of all gradients of the step together, before they are clipped: 0-d, on the device.
        """
        self.scaler.scale(loss / self.group_size(iteration, num_iters)).backward()
        if not self.ends_group(iteration, num_iters):
            return False
        self.scaler.unscale_(self._optimizer)
        self.grad_norm = self._clip()
        self.scaler.step(self._optimizer)
        self.scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return True

    def _clip(self) -> Tensor:
        """Clip the gradients as the config says; return their norm before that."""
        value, norm = self._solver.CLIP_GRAD_VAL, self._solver.CLIP_GRAD_L2NORM
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        if norm and not value:
            return clip_grad_norm_(parameters, norm)
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        if value:
            clip_grad_value_(parameters, value)
        return total
