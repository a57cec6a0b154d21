"""TF32, the fast float32 of GPUs: on or off for a process, and never where matrix products must be exact."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def allow_tf32(allowed: bool, device: torch.device) -> None:
    """Have float32 convolutions and matrix products of this process take TF32 where its GPU has it, or never.

    Torch by itself takes it for convolutions and not for matrix products. On a CPU nothing changes.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def full_precision_matmul() -> Iterator[None]:
    """Switch TF32 (and bfloat16 in the place of float32) off for matrix products, then back to what it was.

    The switches are the process's: other threads feel them while the context lasts. Torch has two sets of them, and
    refuses to answer for the older one where the newer one (torch 2.9 and later) has been used.
    """
    backends = [torch.backends.cuda.matmul, getattr(torch.backends.mkldnn, "matmul", None)]
    each = [(backend, backend.fp32_precision) for backend in backends if hasattr(backend, "fp32_precision")]
    try:
        overall = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
    except RuntimeError:
        overall = None
        for backend, _ in each:
            backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        if overall is not None:
            torch.set_float32_matmul_precision(overall)
        for backend, precision in each:
            if backend.fp32_precision != precision:
                backend.fp32_precision = precision
