"""Numbers of the host on a device, without a wait for it."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy that a GPU fetches when it comes to it, out of page-locked memory; on a CPU the tensor itself."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def upload(arrays: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, ...]:
    """Arrays of one type and of any shapes, all in one copy."""
    with torch.inference_mode(False):  # they may be kept, and used where gradients are
        whole = to_device(torch.from_numpy(np.concatenate([array.ravel() for array in arrays])), device)
        parts = whole.split([array.size for array in arrays])
        return tuple(part.view(array.shape) for part, array in zip(parts, arrays, strict=True))
