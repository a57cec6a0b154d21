"""The property that every layer has: packed clips give what each gives alone, forward and backward."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slowfast_atfr.packed import PackedClips, pack, unpack


def assert_each_as_alone(layer: nn.Module, clips: Sequence[Tensor], round_to: int = 1) -> PackedClips:
    """Compare outputs and the clips' gradients; the clips (C, T_i, H, W) require them. Returns the packed outputs."""
    packed = layer(pack(clips, round_to=round_to))
    together = unpack(packed)
    weights = [torch.randn_like(out) for out in together]
    grads = torch.autograd.grad(sum((w * out).sum() for w, out in zip(weights, together, strict=True)), clips)
    for clip, weight, out, grad in zip(clips, weights, together, grads, strict=True):
        alone = layer(clip[None])[0]
        torch.testing.assert_close(out, alone)
        torch.testing.assert_close(grad, torch.autograd.grad((weight * alone).sum(), clip)[0])
    return packed
