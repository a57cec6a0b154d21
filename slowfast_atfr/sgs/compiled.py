"""`torch.compile` of a network with SGS: what comes before the layer is compiled, what comes after is not."""

from functools import cache
from typing import Any

import torch
from torch import nn

from slowfast_atfr.packed import PackedClips
from slowfast_atfr.packed.ragged import RaggedLength
from slowfast_atfr.packed.views import View
from slowfast_atfr.sgs.pathways import PathwaySGS
from slowfast_atfr.sgs.temporal_sampler import TemporalSampler


def compile_network(model: nn.Module, **options: Any) -> Any:
    """`torch.compile(model, **options)` for a network with SGS, which torch.compile by itself cannot trace.

    The layer and all functions of packed clips run outside of the compiler's graphs: lengths are known on the host only
    when they run.
    """
    _hide()
    return torch.compile(model, **options)


@cache  # once, and not when this module is imported: it takes torch seconds to load its compiler
def _hide() -> None:
    """Disable compilation of packed clips' functions, for the rest of the process."""
    for layer in (TemporalSampler, PathwaySGS):
        layer.forward = torch.compiler.disable(layer.forward)
    for kind in (PackedClips, View, RaggedLength):
        kind.__torch_function__ = classmethod(torch.compiler.disable(kind.__torch_function__.__func__))
