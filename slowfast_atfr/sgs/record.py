"""Record which frames the SGS layers of a model merge."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from slowfast_atfr.config import PATHWAY_NAMES
from slowfast_atfr.sgs.temporal_sampler import Sampled, TemporalSampler


@dataclass(frozen=True)
class ClipRecord:
    """One clip in one SGS layer. Frames are those that entered the layer, T of them.

    similarity: (T,) Delta of each frame; (T, K) for a similarity of K > 1 coordinates.
    block: (T,) block of each frame, from 0.
    bin: (T,) bin of each frame within its block, from 0; (T, K) for K > 1 coordinates.
    output: (T,) frame of the layer's output that each input frame was added to, from 0 to B' - 1; where output frames
        share input frames, the one that has the input frame's middle.
    num_active: B', frames of the output.
    """

    similarity: np.ndarray
    block: np.ndarray
    bin: np.ndarray
    output: np.ndarray
    num_active: int


@dataclass
class Record:
    """Clips that each SGS layer has seen, by the layer's name, in input order."""

    layers: dict[str, list[ClipRecord]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> list[ClipRecord]:
        return self.layers[name]

    def mean_active(self) -> dict[str, float]:
        """Mean number of active bins of each layer's clips."""
        return {
            name: float(np.mean([clip.num_active for clip in clips])) for name, clips in self.layers.items() if clips
        }


def active_name(layer: str, *, single: bool) -> str:
    """Name of the active bins of an SGS layer in logs: s2_sgs.pathway1 is active_bins_s2_fast.

    Args:
        layer: name of the module in the network, or in it under DDP.
        single: whether the network has one pathway; s2_sgs.pathway0 is then active_bins_s2.
    """
    stage, pathway = layer.removeprefix("module.").split("_sgs.pathway")
    return f"active_bins_{stage}" if single else f"active_bins_{stage}_{PATHWAY_NAMES[int(pathway)]}"


class ActiveBins:
    """Counts active bins, clip by clip, without waiting for the device."""

    def __init__(self) -> None:
        self._seen: dict[str, np.ndarray] = {}

    def read_and_reset(self) -> dict[str, np.ndarray]:
        """(N,) active bins of each clip, by the layer's name, of the last forward."""
        seen, self._seen = self._seen, {}
        return seen


@contextmanager
def count_active(model: nn.Module) -> Iterator[ActiveBins]:
    """Count active bins of every SGS layer while the model runs; call read_and_reset() after each forward."""
    counter = ActiveBins()
    with observed(model, lambda name, sampled: counter._seen.update({name: np.asarray(sampled.plan.lengths)})):
        yield counter


@contextmanager
def record(model: nn.Module) -> Iterator[Record]:
    """Record what every SGS layer of the model does to every clip.

    >>> with record(model) as log:                                   # doctest: +SKIP
    ...     model(inputs)
    >>> log["s2_sgs.pathway0"][0].bin                                # doctest: +SKIP

    Similarities are copied to the host, one wait for the device per layer and forward: do not use it in timings. A
    layer that activation checkpointing runs twice is recorded twice.
    """
    log = Record({name: [] for name, module in model.named_modules() if isinstance(module, TemporalSampler)})
    with observed(model, lambda name, sampled: log.layers[name].extend(_clips_of(sampled))):
        yield log


@contextmanager
def observed(model: nn.Module, callback: Callable[[str, Sampled], None]) -> Iterator[None]:
    """Call `callback` with the name of each SGS layer and what it did, within the context."""
    names = {module: name for name, module in model.named_modules() if isinstance(module, TemporalSampler)}

    def observe(layer: TemporalSampler, sampled: Sampled) -> None:
        callback(names[layer], sampled)

    for module in names:
        module.observers.append(observe)
    try:
        yield
    finally:
        for module in names:
            module.observers.remove(observe)


def _clips_of(sampled: Sampled) -> Iterator[ClipRecord]:
    similarity = sampled.measured.similarity.detach().cpu().numpy()
    bins = sampled.host_bins
    if similarity.shape[-1] == 1:
        similarity, bins = similarity[..., 0], bins[..., 0]
    row = 0
    for clip in sampled.measured.blocks:
        parts, active = [], 0
        for index, length in enumerate(clip):
            output = active + sampled.plan.output[row, :length]
            parts.append((similarity[row, :length], np.full(length, index), bins[row, :length], output))
            active += sampled.plan.counts[row]
            row += 1
        yield ClipRecord(*(np.concatenate(part) for part in zip(*parts, strict=True)), num_active=active)
