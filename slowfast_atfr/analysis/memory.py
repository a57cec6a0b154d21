"""Count the memory that a forward pass keeps for the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class SavedBytes:
    """Counts the bytes of saved storages, each once, even if several tensors share it."""

    def __init__(self, model: nn.Module) -> None:
        self._of_model = {_storage(value)[0] for value in (*model.parameters(), *model.buffers())}
        self._seen: dict[tuple[torch.device, int], int] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Note a tensor saved for the backward pass; return one on the same storage, outside of the graph."""
        where, size = _storage(tensor)
        if where not in self._of_model:
            self._seen[where] = size
        return tensor.detach()

    def total(self) -> int:
        """Return the bytes, without the model's parameters and buffers."""
        return sum(self._seen.values())


@contextmanager
def count_saved(model: nn.Module) -> Iterator[SavedBytes]:
    """Count while the model runs forward inside the block.

    >>> with count_saved(model) as saved:                            # doctest: +SKIP
    ...     loss = model(inputs).sum()
    >>> saved.total()                                                # doctest: +SKIP
    """
    saved = SavedBytes(model)
    with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda tensor: tensor):
        yield saved


def _storage(tensor: Tensor) -> tuple[tuple[torch.device, int], int]:
    storage = tensor.untyped_storage()
    return (tensor.device, storage.data_ptr()), storage.nbytes()
