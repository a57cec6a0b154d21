"""What a forward pass keeps in memory for the backward pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class SavedBytes:
    """Counts the storages of saved tensors, each once, however many tensors look at it."""

    def __init__(self, model: nn.Module) -> None:
        self._of_model = {_storage(value)[0] for value in (*model.parameters(), *model.buffers())}
        self._seen: dict[tuple[torch.device, int], int] = {}

    def add(self, tensor: Tensor) -> Tensor:
        """Note a tensor that the backward pass will want; returns one on the same storage, outside of the graph."""
        where, size = _storage(tensor)
        if where not in self._of_model:
            self._seen[where] = size
        return tensor.detach()

    def total(self) -> int:
        """Bytes, those of the model's own parameters and buffers left out."""
        return sum(self._seen.values())


@contextmanager
def count_saved(model: nn.Module) -> Iterator[SavedBytes]:
    """Count while the model runs forward.

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
