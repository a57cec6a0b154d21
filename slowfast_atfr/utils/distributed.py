"""Ranks and collectives of the processes of a run. In a run of one process collectives do nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from slowfast_atfr.utils.stop import StopRequest

T = TypeVar("T")


@dataclass(frozen=True)
class RankInfo:
    """One process of a run: `rank` of `world_size` in all, `local_rank` of `local_world_size` on its machine.

    stop: whether the run has been interrupted.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    device: torch.device = torch.device("cpu")
    stop: StopRequest = field(default_factory=StopRequest, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not (0 <= self.rank < self.world_size and 0 <= self.local_rank < self.local_world_size <= self.world_size):
            raise ValueError(
                f"rank {self.rank} of {self.world_size}, local rank {self.local_rank} of {self.local_world_size}: "
                "ranks go from 0 to world size - 1, and a local world size is at most the world size"
            )


def is_initialized() -> bool:
    """Whether this process belongs to a process group."""
    return dist.is_available() and dist.is_initialized()


def get_rank() -> int:
    return dist.get_rank() if is_initialized() else 0


def get_world_size() -> int:
    return dist.get_world_size() if is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that logs and writes files."""
    return get_rank() == 0


def all_reduce_sum(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the sums over all processes, in one collective; the arguments do not change.

    Args:
        tensors: of one dtype and device, with the same shapes on every process.
    """
    if get_world_size() == 1 or not tensors:
        return list(tensors)
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def gather_objects(obj: Any) -> list[Any]:
    """Return the picklable objects of all processes, by rank, on every process."""
    if get_world_size() == 1:
        return [obj]
    gathered: list[Any] = [None] * get_world_size()
    dist.all_gather_object(gathered, obj)
    return gathered


def in_any_process(flag: bool) -> bool:
    """Return whether any process has set the flag; a collective."""
    return any(gather_objects(flag))


def on_main(function: Callable[[], T]) -> T:
    """Run a function on the main process; all processes return its result or raise its error. A collective.

    So no process waits for a failed main process. Result and error must be picklable.
    """
    outcome: tuple[T | None, Exception | None] = (None, None)
    if is_main():
        try:
            outcome = (function(), None)
        except Exception as error:
            outcome = (None, error)
    result, error = gather_objects(outcome)[0]
    if error is not None:
        raise error
    return result


def share_buffers(module: nn.Module) -> None:
    """Broadcast the main process's buffers, such as running statistics; a collective."""
    _share(module.buffers())


def share_state(module: nn.Module) -> None:
    """Broadcast the main process's parameters and buffers; a collective."""
    _share((*module.parameters(), *module.buffers()))


@torch.no_grad()
def _share(tensors: Iterable[Tensor]) -> None:
    if get_world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
