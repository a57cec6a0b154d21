"""Networks for inference: batch norm folded into the convolutions before it."""

from collections import Counter
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized


def fold_norms(model: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution before it, in place; the norm becomes an Identity.

    The convolution before a norm is the one registered just before it in the same module, as in all networks of this
    package; do not use it for a network whose `forward` runs them in another order. Scores stay the same up to
    rounding. Not folded: norms inside of SGS, and pairs where one has hooks (as with `insert_sgs` after it), children
    or a parametrization, or is used twice.

    Args:
        model: in evaluation, with its final weights; it cannot be trained, or load weights, afterwards.
    Returns:
        the same model, without gradients.
    Raises:
        ValueError: if it is in training, or a layer of it is.
    """
    if any(module.training for module in model.modules()):
        raise ValueError("fold_norms takes a network in evaluation: call .eval() first; folded ones cannot be trained")
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    for module in list(model.modules()):
        for (_, layer), (name, norm) in pairwise(list(module.named_children())):
            if _can_fold(layer, norm) and uses[id(layer)] == uses[id(norm)] == 1:
                layer.weight, layer.bias = fuse_conv_bn_weights(
                    layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                setattr(module, name, nn.Identity())
    return model.requires_grad_(False)


def _can_fold(layer: nn.Module, norm: nn.Module) -> bool:
    """Whether a norm has statistics for a convolution's channels, and neither has hooks, children, parametrizations."""
    if not isinstance(layer, nn.Conv3d) or not isinstance(norm, _BatchNorm) or norm.running_mean is None:
        return False
    alone = not any(
        part._forward_hooks or part._forward_pre_hooks or part._modules or is_parametrized(part)
        for part in (layer, norm)
    )
    return alone and norm.num_features == layer.out_channels
