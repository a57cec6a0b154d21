"""Types that devices are fast with: half precision, and TF32, which is never taken where products must be exact."""

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


def lacks_convolutions(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether convolutions in half precision have no fast kernels there and take torch's own, which are slow.

    On a CPU oneDNN says which it has: as a rule those of bfloat16 with AVX-512 (where they may still be slower than
    float32's, without bfloat16 instructions), and those of float16 with its instructions only. Nvidia's GPUs have
    bfloat16 from compute capability 8 on.
    """
    short = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype)
    if short is None:
        return False
    if device.type == "cuda":
        return short == "bf16" and torch.version.hip is None and torch.cuda.get_device_capability(device)[0] < 8
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    supported = getattr(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported", None)
    return supported is not None and not supported()


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
