"""Find zero padding in time: it makes the outer maps of a clip differ, which segments take for change."""

import logging
from collections.abc import Iterable

from torch import nn

logger = logging.getLogger(__name__)


def zero_padded(layers: Iterable[nn.Module]) -> list[nn.Conv3d]:
    """Convolutions that pad clips with zeros in time, except TemporalConv3d with `repeats_ends`."""
    convs = (layer for layer in layers if isinstance(layer, nn.Conv3d) and not getattr(layer, "repeats_ends", False))
    return [conv for conv in convs if conv.padding_mode == "zeros" and _pads_time(conv)]


def _pads_time(conv: nn.Conv3d) -> bool:
    if isinstance(conv.padding, str):
        return conv.padding == "same" and conv.kernel_size[0] > 1
    return conv.padding[0] > 0


def warn_of_zeros(model: nn.Module, target: nn.Module, after: str) -> None:
    """Log a warning if convolutions up to a submodule, in the order of the model's modules, pad time with zeros."""
    within = set(target.modules())
    names = {}
    for name, layer in model.named_modules():
        if target in names.values() and layer not in within:
            break
        names[name] = layer
    padded = set(zero_padded(names.values()))
    found = [name for name, layer in names.items() if layer in padded]
    if found:
        listed = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        logger.warning(
            "grouping is segments, and convolutions up to %r pad clips with zeros in time (%s): frames near the ends "
            "of a clip differ from others whatever they show, and a static clip is cut there. "
            "slowfast_atfr.models.replicate_in_time(module) repeats the outer frames instead, in an nn.Conv3d with a "
            "padding in numbers; weights fit both",
            after,
            listed,
        )
