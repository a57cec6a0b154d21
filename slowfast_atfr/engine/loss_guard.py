"""Detect losses that show that training has failed: not finite, or far above earlier ones."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slowfast_atfr.utils.distributed import all_reduce_sum, get_world_size

WINDOW = 5  # losses averaged for the comparison, as in PySlowFast


def agree(loss: Tensor, flag: bool) -> tuple[float, bool]:
    """Return the mean of a 0-d loss over processes, and whether any process has set the flag; a collective."""
    loss = loss.detach().double()
    both = torch.stack([loss, loss.new_full((), float(flag))])
    total, flags = all_reduce_sum([both])[0].tolist()
    return total / get_world_size(), flags > 0


class LossGuard:
    """Compares each loss with the last ones.

    Args:
        factor: TRAIN.KILL_LOSS_EXPLOSION_FACTOR, limit in multiples of the mean of the last WINDOW losses; 0: none.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._last = "there was no step before it"

    def problem(self, loss: float, place: str) -> str | None:
        """Return what is wrong with a loss, or None.

        Args:
            loss: mean over the processes.
            place: of the step, such as "iteration 3 of epoch 2".
        """
        mean = sum(self._recent) / max(1, len(self._recent))
        if not math.isfinite(loss):
            return f"the loss is {loss} in {place}; {self._last}"
        if self._factor and len(self._recent) == WINDOW and loss > self._factor * mean:
            limit = (
                f"TRAIN.KILL_LOSS_EXPLOSION_FACTOR ({self._factor:g}) times {mean:.4g}, the mean of the {WINDOW} before"
            )
            return f"the loss is {loss:.4g} in {place}, more than {limit}; {self._last}"
        self._recent.append(loss)
        self._last = f"the last good step was {place}, with a loss of {loss:.4g}"
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"recent": list(self._recent), "last": self._last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._recent.extend(state["recent"])
        self._last = state["last"]
