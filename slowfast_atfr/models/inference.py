"""Networks for inference: batch norm folded into the convolutions before it."""

from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_norms(model: nn.Module) -> nn.Module:
    """Fold every batch norm into the convolution before it, in place; what is left of the norm passes its input on.

    The convolution before a norm is the one registered just before it in the same module, as in all networks of this
    package. In a network of your own whose `forward` goes another way, leave such modules out by another order. Scores
    stay the same up to rounding; norms inside of SGS stay as they are, so bins do not move but for rounding.

    Args:
        model: in evaluation, with its final weights; it cannot be trained or loaded into afterwards.
    Returns:
        the same model, without gradients.
    Raises:
        ValueError: in training.
    """
    if model.training:
        raise ValueError("fold_norms takes a network in evaluation: call .eval() first; folded ones cannot be trained")
    for module in list(model.modules()):
        for (_, layer), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv3d) and _can_fold(layer, norm):
                layer.weight, layer.bias = fuse_conv_bn_weights(
                    layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                setattr(module, name, nn.Identity())
    return model.requires_grad_(False)


def _can_fold(layer: nn.Conv3d, norm: nn.Module) -> bool:
    """Whether a norm has statistics of its own, of the layer's channels."""
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.num_features == layer.out_channels
