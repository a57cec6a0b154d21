"""Similarity Guided Sampling as a module: embed -> measure -> weigh -> add up -> drop."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs.bins import NON_FINITE, assign_bins
from slowfast_atfr.sgs.one_clip import block_of_frames, in_blocks, members_of, out_of_blocks
from slowfast_atfr.sgs.registry import kernel_named, similarity_named
from slowfast_atfr.sgs.similarity import Coordinates
from slowfast_atfr.sgs.temporal_sampler import Frames, Groups, Measured, TemporalSampler, as_rows, real_frames
from slowfast_atfr.utils.upload import to_device, upload

INIT_STD = 0.01  # of the embedding's linear layers


class ExactLinear(nn.Linear):
    """A linear layer that dynamic quantisation, which selects by type, skips: rounding would change bins."""


class Embedding(nn.Module):
    """Embedding of each frame from its spatial mean: Linear C -> C/2, ReLU, Linear -> L, norm over all frames.

    Weights start at N(0, 0.01^2) and the bias at zero, as in the release. The norm removes their scale, but an
    optimizer step changes the direction of small weights more than that of torch's default.
    """

    def __init__(self, channels: int, embed_dim: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.fc1 = ExactLinear(channels, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = ExactLinear(hidden, embed_dim, bias=False)  # the norm after it has one
        self.bn = norm(embed_dim)
        for layer in (self.fc1, self.fc2):
            if not layer.weight.is_meta:  # there `normal_` imports torch's compiler, which takes seconds
                nn.init.normal_(layer.weight, std=INIT_STD)
        nn.init.zeros_(self.fc1.bias)

    def forward(self, means: Tensor, lengths: Sequence[int] = ()) -> Tensor:
        """(S, C) -> (S, L); lengths: frames of each clip, for a norm over parts of the batch."""
        embeddings = self.fc2(self.relu(self.fc1(means.to(self.fc1.weight.dtype))))
        norm = self.bn
        tracks = isinstance(norm, _BatchNorm) and norm.running_mean is not None and getattr(norm, "group_size", 1) == 1
        if self.training and len(means) == 1 and tracks:  # one frame has no variance: use the running statistics
            return F.batch_norm(embeddings, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        return norm(embeddings, lengths) if getattr(norm, "num_splits", 1) > 1 else norm(embeddings)


class SGS(TemporalSampler):
    """Group similar frames of each clip into bins, add up each bin, drop the empty ones.

    Takes (N, C, T, H, W) or packed clips; returns packed clips of B' <= T frames each. A clip's result does not depend
    on its neighbours, except for batch statistics of the embedding's norm in training. Embeddings and bins are computed
    in float32 or better, outside of autocast: bfloat16 would move frames into other bins, and does so if the layer
    itself is converted to it.

    Args:
        channels: C.
        num_bins: B, bins of each block; -1 is the number of frames of the block.
        block_size: frames that are sampled together; 0 is the whole clip. A clip's last block may be shorter.
        similarity: name in SIMILARITY_REGISTRY.
        coordinates: of the similarity "spherical": all, angular or radial.
        kernel: name in KERNEL_REGISTRY.
        embed_dim: L, dimensions of the embedding.
        order: "bin" (by index) or "time" (by the mean time of the members).
        test_num_bins: B outside training; None is as in training.
        grad_scale: factor of a kernel's straight-through gradient.
        norm: norm over (S, L) embeddings, of the same kind as the network's.
        batching: "packed"; or "padded" for a dense (N, C, max B', H, W) with zero frames after the shorter clips, as in
            the paper's release: later layers mix the padding in, and a clip then depends on its batch.
        pack_multiple: temporal buffers of the packed clips are rounded up to a multiple of it.
    Raises:
        ConfigError: for a name that is not registered, or a number out of range.
        FloatingPointError: in forward, when frames or embeddings are not finite; it names the layer and the clip.
        TypeError, ValueError: in forward, for an input that is not floating point, empty, or of other channels.
    Source: Fayyaz et al., CVPR 2021.
    """

    def __init__(
        self,
        channels: int,
        num_bins: int = -1,
        block_size: int = 0,
        similarity: str = "magnitude",
        kernel: str = "linear",
        embed_dim: int = 8,
        *,
        coordinates: str = "all",
        order: str = "bin",
        test_num_bins: int | None = None,
        grad_scale: float = 1.0,
        norm: Callable[[int], nn.Module] = nn.BatchNorm1d,
        batching: str = "packed",
        pack_multiple: int = 1,
    ) -> None:
        super().__init__(
            channels,
            num_bins,
            block_size,
            test_num_bins=test_num_bins,
            order=order,
            batching=batching,
            pack_multiple=pack_multiple,
        )
        if embed_dim < 1 + (similarity == "spherical" and coordinates != "radial"):
            raise ConfigError(f"SGS has embed_dim {embed_dim}; it takes at least 1, and 2 for angles")
        self.similarity, self.kernel = similarity_named(similarity, coordinates), kernel_named(kernel)
        self.names = f"similarity={similarity}, coordinates={coordinates}, kernel={kernel}"
        self.grad_scale = grad_scale
        self.embed = Embedding(channels, embed_dim, norm)

    def measure_frames(self, batch: Frames) -> Measured:
        """Embed the frames, measure them and assign bins."""
        layout, finite = batch.block_layout, batch.finite
        wanted = self.num_bins if self.training else self.test_num_bins
        num_bins = [length if wanted == -1 else wanted for length in layout.lengths]
        embeddings = self.embed(batch.means, batch.lengths)
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        rows = as_rows(embeddings.masked_fill(~finite[:, None], torch.nan), layout)
        if layout.is_even:
            real = torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
        else:
            real = to_device(torch.from_numpy(real_frames(layout)), rows.device)
        counts = to_device(torch.tensor(num_bins, dtype=rows.dtype), rows.device)
        coordinates, offset, bins = self._in_bins(rows, real, counts)
        bins = bins.masked_fill(~torch.isfinite(rows).flatten(1).all(1)[:, None, None], NON_FINITE)
        return Measured(batch, coordinates.values, bins, offset)

    def _in_bins(self, rows: Tensor, real: Tensor, num_bins: Tensor) -> tuple[Coordinates, Tensor, Tensor]:
        """Embeddings (N, T, L), real frames (N, T), B (N,) -> coordinates, and the result of `assign_bins`."""
        coordinates = self.similarity(rows, real)
        return coordinates, *assign_bins(coordinates, real, num_bins)

    def group_clip(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        length = clip.shape[2]
        rows, real = in_blocks(self.embed(clip[0].mean((2, 3)).mT), self.block_size, self.label)
        counts = real.sum(1) if self.test_num_bins == -1 else torch.full_like(real[:, 0], self.test_num_bins, dtype=int)
        _, offset, bins = self._in_bins(rows, real, counts.to(rows.dtype))
        members = members_of(block_of_frames(rows, length), out_of_blocks(bins, length).unbind(1), self.order)
        return members, self.kernel(out_of_blocks(offset, length)[None], members[None], self.grad_scale)[0]

    def group(self, measured: Measured, host: np.ndarray) -> Groups:
        return Groups(host.reshape(measured.for_host.shape))

    def weigh(self, measured: Measured, shares: np.ndarray) -> Tensor:
        output, number = upload((shares, np.arange(shares.max() + 1)), measured.offset.device)
        members = output[:, None, :] == number[:, None]  # (N, B', T)
        return self.kernel(measured.offset, members, self.grad_scale)

    def macs(self, lengths: Sequence[int]) -> float:
        """Multiply-adds of the embedding."""
        return sum(lengths) * (self.embed.fc1.weight.numel() + self.embed.fc2.weight.numel())

    def extra_repr(self) -> str:
        return (
            f"num_bins={self.num_bins}, test_num_bins={self.test_num_bins}, block_size={self.block_size}, "
            f"{self.names}, order={self.order}, batching={self.batching}"
        )
