"""Temporal samplers after one stage of a network of several pathways."""

from torch import nn

from slowfast_atfr.packed import Clips
from slowfast_atfr.sgs.aligned_segments import sample_aligned
from slowfast_atfr.sgs.segment_sampler import SegmentSGS
from slowfast_atfr.sgs.temporal_sampler import TemporalSampler, sample_together


class PathwaySGS(nn.Module):
    """SGS after one stage of a network of several pathways; pathways that are not sampled pass through unchanged.

    Args:
        samplers: by pathway.
        label: of the layer, for errors.
        aligned: whether the slow and the fast pathway (0 and 1) are cut at the same times, see `sample_aligned`.
    """

    def __init__(self, samplers: dict[int, TemporalSampler], label: str, *, aligned: bool = False) -> None:
        super().__init__()
        for pathway, sampler in samplers.items():
            sampler.label = f"{label}.pathway{pathway}"
            self.add_module(f"pathway{pathway}", sampler)
        self.sampled, self.aligned = tuple(samplers), aligned

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        out = list(pathways)
        samplers = [getattr(self, f"pathway{pathway}") for pathway in self.sampled]
        inputs = [pathways[pathway] for pathway in self.sampled]
        sampled = sample_aligned(*samplers, *inputs) if self.aligned else sample_together(samplers, inputs)
        for pathway, clips in zip(self.sampled, sampled, strict=True):
            out[pathway] = clips
        return out


def without_thresholds(network: nn.Module) -> list[str]:
    """Labels of layers whose number of maps follows thresholds in evaluation, and that have none."""
    layers = list(network.modules())
    led = {layer.pathway1 for layer in layers if isinstance(layer, PathwaySGS) and layer.aligned}  # by the slow pathway
    own = [layer for layer in layers if isinstance(layer, SegmentSGS) and layer not in led]
    return [layer.label for layer in own if layer.test_target_maps is not None and not layer.cuts]
