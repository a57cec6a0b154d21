"""Activation checkpointing: a module keeps its inputs, and runs once more when the backward pass wants the rest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint


def run_checkpointed(module: nn.Module, inputs: Any, call: Callable[[Any], Any] | None = None) -> Any:
    """`module(inputs)`, with the same results, gradients and buffers, and without what lies between.

    Args:
        module: deterministic but for torch's random state, which is set back for the second run. It must leave its
            inputs as they are.
        inputs: tensors and packed clips, in lists or alone.
        call: runs the module on the inputs; None calls it.
    """
    call = call or module
    leaves, tree = pytree.tree_flatten(inputs)  # tensors, of packed clips their data: checkpoint sees to these alone

    def run(*leaves: Tensor) -> Any:
        return call(pytree.tree_unflatten(leaves, tree))

    return checkpoint(run, *leaves, use_reentrant=False, context_fn=lambda: (nullcontext(), unchanged_buffers(module)))


@contextmanager
def unchanged_buffers(module: nn.Module) -> Iterator[None]:
    """Afterwards the buffers are what they were: norms have learned from the first run, not from the second.

    They are written back rather than exchanged, since compiled code holds on to them.
    """
    buffers = list(module.buffers())
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
