"""A slow, plain reference of SGS, clip by clip, that the fast path is held against."""

import pytest
import torch
from torch import Tensor


def reference_sgs(frames: Tensor, similarity: Tensor, num_bins: int, kernel: str, order: str = "bin") -> Tensor:
    """frames (C, T, H, W), similarity (T,) -> (C, B', H, W), from the definitions, with loops."""
    largest, total = similarity.max(), similarity.shape[0]
    groups: dict[int, list[int]] = {}
    for t in range(total):
        share = similarity[t] / largest if largest > 0 else torch.zeros(())
        groups.setdefault(min(num_bins - 1, int(torch.floor(share * num_bins))), []).append(t)
    keys = sorted(groups)
    if order == "time":
        keys = sorted(keys, key=lambda b: sum(groups[b]) / len(groups[b]))
    out = []
    for b in keys:
        u = 2 * num_bins * similarity[groups[b]] / largest if largest > 0 else similarity[groups[b]]
        raw = (1 - (u - (2 * b + 1)).abs()).clamp(min=0)
        weights = {
            "linear": raw,
            "delta": torch.ones_like(raw),
            "linear_mean": (raw + 1e-2) / (raw + 1e-2).sum(),
        }[kernel]
        out.append((frames[:, groups[b]] * weights[None, :, None, None]).sum(1))
    return torch.stack(out, 1)


@pytest.fixture
def reference():
    return reference_sgs
