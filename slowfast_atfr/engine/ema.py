"""An exponential moving average of a network's weights, used in validation and tests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from slowfast_atfr.sgs.segment_sampler import is_threshold


class Ema:
    """decay * average + (1 - decay) * weights after every step.

    Running statistics of batch norm are averaged, too. Integers are copied, and so are thresholds of segments, which
    are zero before the first step.

    Args:
        network: without DDP, on its device.
        decay: SOLVER.EMA_DECAY, such as 0.9999.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._average = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Update the average after a step."""
        pairs = [(self._average[name], value) for name, value in network.state_dict().items()]
        mixed = [value.is_floating_point() and not is_threshold(name) for name, value in self._average.items()]
        floats = [pair for pair, mixes in zip(pairs, mixed, strict=True) if mixes]
        if floats:
            torch._foreach_lerp_([ours for ours, _ in floats], [value for _, value in floats], 1 - self._decay)
        for (ours, value), mixes in zip(pairs, mixed, strict=True):
            if not mixes:
                ours.copy_(value)

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Swap the average into the network within the block."""
        self._swap(network)
        try:
            yield
        finally:
            self._swap(network)

    @torch.no_grad()
    def _swap(self, network: nn.Module) -> None:
        for name, value in network.state_dict().items():
            own = value.clone()
            value.copy_(self._average[name])
            self._average[name].copy_(own)

    def state_dict(self) -> dict[str, Tensor]:
        return self._average

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the average; thresholds may be missing. Raises ValueError if it is of another network."""
        missing, unknown = self._average.keys() - state.keys(), state.keys() - self._average.keys()
        if unknown or not all(map(is_threshold, missing)):
            raise ValueError("the average in the file is that of another network")
        for name, value in state.items():
            self._average[name].copy_(value)
