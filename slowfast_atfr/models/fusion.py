"""Lateral connection from the fast to the slow pathway, also if SGS gives them different lengths."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.models.convolution import TemporalConv3d
from slowfast_atfr.models.norm import Norm
from slowfast_atfr.packed import Clips, lengths_of, pack_dense, pad_lengths
from slowfast_atfr.utils.exporting import is_exporting


class FuseFastToSlow(nn.Module):
    """A temporally strided convolution of the fast pathway, concatenated to the slow one along the channels.

    slow (N, C, T, H, W), fast (N, C/beta, alpha T, H, W) -> slow (N, C + ratio C/beta, T, H, W), fast unchanged.
    After SGS the two have different lengths: the shorter is zero padded to the longer, clip by clip.
    """

    def __init__(
        self, dim_fast: int, *, channel_ratio: int, kernel: int, alpha: int, norm: Norm, inplace_relu: bool, pad: str
    ) -> None:
        super().__init__()
        self.pad = pad
        stride, padding = (alpha, 1, 1), (kernel // 2, 0, 0)
        self.conv_f2s = TemporalConv3d(dim_fast, dim_fast * channel_ratio, (kernel, 1, 1), stride, padding, bias=False)
        self.bn = norm(dim_fast * channel_ratio)
        self.relu = nn.ReLU(inplace=inplace_relu)

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        slow, fast = pathways
        fused = self.relu(self.bn(self.conv_f2s(fast)))
        return [concatenate_padded(slow, fused, where=self.pad), fast]


def concatenate_padded(a: Clips, b: Clips, *, where: str) -> Clips:
    """Concatenate along channels; for each clip the shorter pathway is zero padded in time (center, end)."""
    if is_exporting():
        return _concatenate_clips(a, b, where)
    if isinstance(a, Tensor) != isinstance(b, Tensor):  # only one has been sampled
        round_to = (b if isinstance(a, Tensor) else a).round_to
        a, b = (pack_dense(x, round_to=round_to) if isinstance(x, Tensor) else x for x in (a, b))
    longest = tuple(max(pair) for pair in zip(lengths_of(a), lengths_of(b), strict=True))
    return torch.cat([pad_lengths(a, longest, where=where), pad_lengths(b, longest, where=where)], dim=1)


def _concatenate_clips(a: Tensor, b: Tensor, where: str) -> Tensor:
    """One clip each, (1, C, T, H, W), for export, where T may be a symbol after SGS."""
    known = not any(isinstance(x.shape[2], torch.SymInt) for x in (a, b))
    if known and a.shape[2] == b.shape[2]:
        return torch.cat([a, b], dim=1)
    longest, padded = torch.sym_max(a.shape[2], b.shape[2]), []
    for x in (a, b):
        missing = longest - x.shape[2]
        before = missing // 2 if where == "center" else 0
        padded.append(F.pad(x, (0, 0, 0, 0, before, missing - before)))
    return torch.cat(padded, dim=1)
