"""What convolutions see beyond the ends of a clip: zeros, or copies of its outer frames.

Zeros change the maps next to a clip's ends, in every pixel and whatever the clip shows. SGS takes that for change: a
static clip leaves it with several maps, and bins are spent on the ends of a clip instead of on what moves. With copies
all maps of a static clip are alike.
"""

from torch import nn

from slowfast_atfr.config import STAGES
from slowfast_atfr.models.convolution import TemporalConv3d
from slowfast_atfr.sgs.ends import zero_padded


def zero_padded_before_sgs(network: nn.Module) -> list[str]:
    """Stages (conv1, res2, ..) up to the first SGS layer with convolutions that pad clips with zeros in time.

    Empty without SGS, and for a network whose stages are not called s1, s2, ...
    """
    padded = []
    for number, stage in enumerate(STAGES, start=1):
        layers = getattr(network, f"s{number}", nn.Identity()).modules()
        if zero_padded(layers):
            padded.append(stage)
        if hasattr(network, f"s{number}_sgs"):
            return padded
    return []


def replicate_in_time(module: nn.Module) -> nn.Module:
    """Make the convolutions of a module pad clips in time with copies of their outer frames, in place.

    Parameters, hooks and names stay. A convolution without padding in time is left alone. An nn.Conv3d is replaced by
    a TemporalConv3d that shares all it has; a network that keeps it elsewhere too, as in a plain list, pads with zeros
    there.

    Args:
        module: what comes before SGS in any network of nn.Conv3d.
    Returns:
        The same module; for a single nn.Conv3d its replacement.
    Raises:
        TypeError: for a convolution of another class, or one whose padding is not of zeros, in numbers.
    """
    convs = {}
    for name, conv in module.named_modules():
        if not isinstance(conv, nn.Conv3d) or conv.padding == "valid" or conv.padding[0] == 0:
            continue
        known = isinstance(conv, TemporalConv3d) or type(conv) is nn.Conv3d
        if not known or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise TypeError(f"{name or 'the module'}: {conv} is not an nn.Conv3d padded with a number of zeros")
        convs[conv] = conv if isinstance(conv, TemporalConv3d) else _as_temporal(conv)
    for conv in convs.values():
        conv.repeats_ends = True
    for parent in list(module.modules()):
        for name, child in parent._modules.items():
            parent._modules[name] = convs.get(child, child)
    return convs.get(module, module)


def _as_temporal(conv: nn.Conv3d) -> TemporalConv3d:
    """A TemporalConv3d with the parameters, hooks and settings of a convolution."""
    temporal = TemporalConv3d.__new__(TemporalConv3d)
    temporal.__dict__.update(conv.__dict__)
    return temporal
