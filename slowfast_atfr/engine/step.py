"""A step of the optimizer: mixed precision, gradient accumulation and clipping."""

from contextlib import AbstractContextManager, nullcontext

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_, clip_grad_value_


def autocast(cfg: CfgNode, device: torch.device) -> AbstractContextManager:
    """Return the context of a forward pass: mixed precision if TRAIN.MIXED_PRECISION."""
    dtype = getattr(torch, cfg.TRAIN.AMP_DTYPE)
    return torch.autocast(device.type, dtype=dtype, enabled=cfg.TRAIN.MIXED_PRECISION)


class GradientSteps:
    """The backward passes and the optimizer's steps of a run.

    Every SOLVER.GRAD_ACCUM_STEPS iterations make one step, with the gradient of their mean loss; the remainder of an
    epoch makes a smaller one. In float16 the loss is scaled, and a step whose gradients overflow is skipped. Gradients
    are clipped at SOLVER.CLIP_GRAD_VAL, or else to a norm of SOLVER.CLIP_GRAD_L2NORM.

    Args:
        cfg: of the run.
        model: within DDP or not.
        optimizer: of its parameters.
        device: of its parameters.
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
        """Iterations in the step that this one belongs to."""
        first = iteration - iteration % self._solver.GRAD_ACCUM_STEPS
        return min(self._solver.GRAD_ACCUM_STEPS, num_iters - first)

    def synced(self, iteration: int, num_iters: int) -> AbstractContextManager:
        """Return a context for forward and backward: DDP exchanges gradients only before a step."""
        together = self.ends_group(iteration, num_iters) or not isinstance(self._model, DistributedDataParallel)
        return nullcontext() if together else self._model.no_sync()

    def backward_and_step(self, loss: Tensor, iteration: int, num_iters: int) -> bool:
        """Backpropagate an iteration's loss, and step if one is due; return whether it did.

        After a step `grad_norm` is the norm of all its gradients before clipping: 0-d, on the device.
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
        """Clip the gradients; return their norm before that."""
        value, norm = self._solver.CLIP_GRAD_VAL, self._solver.CLIP_GRAD_L2NORM
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        if norm and not value:
            return clip_grad_norm_(parameters, norm)
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        total = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        if value:
            clip_grad_value_(parameters, value)
        return total
