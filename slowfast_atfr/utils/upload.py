"""Copies from host to device that do not wait."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to a GPU asynchronously from page-locked memory; on a CPU return the tensor itself."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def upload(arrays: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, ...]:
    """Copy arrays of one dtype and any shapes in one transfer."""
    with torch.inference_mode(False):  # they may be kept and used in training
        whole = to_device(torch.from_numpy(np.concatenate([array.ravel() for array in arrays])), device)
        parts = whole.split([array.size for array in arrays])
        return tuple(part.view(array.shape) for part, array in zip(parts, arrays, strict=True))
