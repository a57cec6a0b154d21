"""A slow, plain reference of SGS, clip by clip, that the fast path is held against."""

import pytest
import torch
from torch import Tensor


def reference_sgs(
    frames: Tensor, coordinates: Tensor, extents: tuple, num_bins: int, kernel: str, order: str = "bin"
) -> Tensor:
    """frames (C, T, H, W), coordinates (T, K) -> (C, B', H, W), from the definitions, with loops."""
    num_frames, num_axes = coordinates.shape
    u, cells = torch.zeros_like(coordinates), []
    for axis in range(num_axes):
        fixed = extents[axis] is not None
        extent = torch.tensor(extents[axis], dtype=frames.dtype) if fixed else coordinates[:, axis].max()
        for t in range(num_frames):
            share = coordinates[t, axis] / extent if extent > 0 else 0
            u[t, axis] = 2 * num_bins * share
    for t in range(num_frames):
        cells.append(tuple(min(num_bins - 1, int(torch.floor(u[t, axis] / 2))) for axis in range(num_axes)))
    members = {cell: [t for t in range(num_frames) if cells[t] == cell] for cell in set(cells)}
    keys = sorted(members)
    if order == "time":
        keys = sorted(keys, key=lambda cell: sum(members[cell]) / len(members[cell]))
    out = []
    for cell in keys:
        raw = torch.ones(len(members[cell]), dtype=frames.dtype)
        for axis in range(num_axes):
            raw = raw * (1 - (u[members[cell], axis] - (2 * cell[axis] + 1)).abs()).clamp(min=0)
        weights = {
            "linear": raw,
            "linear_normalized": raw / len(raw),
            "delta": torch.ones_like(raw),
            "delta_normalized": torch.ones_like(raw) / len(raw),
            "linear_mean": (raw + 1e-2) / (raw + 1e-2).sum(),
        }[kernel]
        out.append((frames[:, members[cell]] * weights[None, :, None, None]).sum(1))
    return torch.stack(out, 1)


@pytest.fixture
def reference():
    return reference_sgs
