"""Which precisions a device is fast in: half precision and TF32; full precision where products must be exact."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def allow_tf32(allowed: bool, device: torch.device) -> None:
    """Allow or forbid TF32 in float32 convolutions and matrix products of this process.

    Torch's default is TF32 for convolutions only. On a CPU nothing changes.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def lacks_convolutions(dtype: torch.dtype, device: torch.device) -> bool:
    """Return whether half-precision convolutions on a device fall back to torch's slow kernels.

    On a CPU oneDNN reports which it has: usually bfloat16 with AVX-512 (perhaps slower than float32 without bfloat16
    instructions), and float16 only with its own instructions. Nvidia GPUs have bfloat16 from compute capability 8 on.
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
    """Disable TF32 (and bfloat16 in place of float32) in matrix products within the block.

    The switches are global, so other threads are affected, too. Torch has two sets of them, and raises when the older
    one is read after the newer one (torch 2.9 and later) was set.
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
