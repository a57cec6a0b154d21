"""Activation checkpointing: a module keeps only its inputs, and runs again in the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint


def run_checkpointed(module: nn.Module, inputs: Any, call: Callable[[Any], Any] | None = None) -> Any:
    """`module(inputs)` with the same results, gradients and buffers, without keeping intermediate results.

    Args:
        module: deterministic except for torch's random state, which is restored for the second run. It must not
            change its inputs.
        inputs: tensors or packed clips, or lists of them.
        call: runs the module on the inputs; by default calls it.
    """
    call = call or module
    leaves, tree = pytree.tree_flatten(inputs)  # checkpoint handles tensors only

    def run(*leaves: Tensor) -> Any:
        return call(pytree.tree_unflatten(leaves, tree))

    return checkpoint(run, *leaves, use_reentrant=False, context_fn=lambda: (nullcontext(), unchanged_buffers(module)))


@contextmanager
def unchanged_buffers(module: nn.Module) -> Iterator[None]:
    """Restore buffers at the end, so that running statistics are not updated twice.

    They are written back, not replaced, since compiled code refers to them.
    """
    buffers = list(module.buffers())
    kept = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, kept, strict=True):
                buffer.copy_(value)
