"""Losses by name, PySlowFast's: each takes scores (N, K) and labels, and returns the mean over the batch."""

from collections.abc import Callable

from fvcore.common.config import CfgNode
from torch import Tensor
from torch.nn import functional as F

from slowfast_atfr.config import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_from(cfg: CfgNode) -> Loss:
    """Return the loss MODEL.LOSS_FUNC: (scores, labels) -> mean over the clips, 0-d.

    Raises:
        ConfigError: for an unknown name.
    """
    name = cfg.MODEL.LOSS_FUNC
    if name not in LOSSES:
        raise ConfigError(f"MODEL.LOSS_FUNC is {name!r}; choose one of {', '.join(sorted(LOSSES))}")
    return LOSSES[name]


def bce_logit(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of logits (N, K) with labels (N,) or (N, K), mean over clips and classes."""
    return F.binary_cross_entropy_with_logits(scores, as_targets(labels, scores))


def soft_cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits (N, K) with a distribution over classes per clip (N, K), or labels (N,)."""
    return -(as_targets(labels, scores) * F.log_softmax(scores, dim=1)).sum(1).mean()


def as_targets(labels: Tensor, scores: Tensor) -> Tensor:
    """Return labels in the shape and dtype of the scores (N, K); class indices (N,) become one-hot rows."""
    if labels.ndim == 1:
        labels = F.one_hot(labels, scores.shape[1])
    return labels.to(scores.dtype)


LOSSES: dict[str, Loss] = {
    "cross_entropy": F.cross_entropy,
    "bce_logit": bce_logit,
    "soft_cross_entropy": soft_cross_entropy,
}
