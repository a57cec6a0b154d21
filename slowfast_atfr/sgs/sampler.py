"""Similarity Guided Sampling as a module: embed -> measure -> weigh -> add up -> drop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.config import MAX_BINS, ConfigError
from slowfast_atfr.packed import PackedClips, from_frames, pad_lengths, to_dense, to_frames
from slowfast_atfr.packed.copies import place
from slowfast_atfr.packed.layout import Layout
from slowfast_atfr.sgs.bins import NON_FINITE, AddUp, BinPlan, assign_bins, block_lengths, plan_bins
from slowfast_atfr.sgs.registry import kernel_named, similarity_named
from slowfast_atfr.utils.precision import full_precision_matmul
from slowfast_atfr.utils.upload import to_device, upload

Clips = Tensor | PackedClips
INIT_STD = 0.01  # of the embedding's linear layers


@dataclass(frozen=True)
class Measured:
    """What SGS knows of a batch before the bins reach the host. N blocks of at most T frames."""

    frames: Tensor  # (S, H, W, C), all clips end to end
    lengths: tuple[int, ...]  # frames of each clip
    blocks: tuple[tuple[int, ...], ...]  # frames of each block of each clip
    block_layout: Layout  # of all blocks end to end
    finite: Tensor  # (S,) whether the frame itself is finite
    similarity: Tensor  # (N, T, K) Delta
    offset: Tensor  # (N, T, K) u minus the centre of the frame's bin
    bins: Tensor  # (N, T, K) int32


@dataclass(frozen=True)
class Sampled:
    """What one SGS layer did to a batch, for those who watch it; see `record`."""

    measured: Measured
    host_bins: np.ndarray = field(repr=False)  # (N, T, K)
    plan: BinPlan


class Embedding(nn.Module):
    """Embedding of each frame from its spatial mean: Linear C -> C/2, ReLU, Linear -> L, norm over all frames.

    Weights start at N(0, 0.01^2) and the bias at zero, as in the release. The norm divides their scale out, but a step
    of the optimizer turns weights that start small further than those of torch's default.
    """

    def __init__(self, channels: int, embed_dim: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.fc1 = nn.Linear(channels, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(hidden, embed_dim, bias=False)  # the norm behind it has one
        self.bn = norm(embed_dim)
        for layer in (self.fc1, self.fc2):
            nn.init.normal_(layer.weight, std=INIT_STD)
        nn.init.zeros_(self.fc1.bias)

    def forward(self, means: Tensor, lengths: Sequence[int] = ()) -> Tensor:
        """(S, C) -> (S, L); lengths: frames of each clip, for a norm over parts of the batch."""
        embeddings = self.fc2(self.relu(self.fc1(means.to(self.fc1.weight.dtype))))
        norm = self.bn
        tracks = isinstance(norm, _BatchNorm) and norm.running_mean is not None and getattr(norm, "group_size", 1) == 1
        if self.training and len(means) == 1 and tracks:  # one frame has no variance: it takes the running statistics
            return F.batch_norm(embeddings, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        return norm(embeddings, lengths) if getattr(norm, "num_splits", 1) > 1 else norm(embeddings)


class SGS(nn.Module):
    """Group similar frames of each clip into bins, add up each bin, drop the empty ones.

    Takes (N, C, T, H, W) or packed clips; gives packed clips of B' <= T frames each. A clip's result does not depend on
    its neighbours, batch statistics of the embedding's norm in training excepted. Embeddings and bins are computed in
    float32 or better, outside of autocast: bfloat16 would move frames into other bins, and does where the layer itself
    is converted to it.

    Args:
        channels: C.
        num_bins: B, bins of each block; -1 is as many as the block has frames.
        block_size: frames that are sampled together; 0 is the whole clip. A clip's last block may be shorter.
        similarity: name in SIMILARITY_REGISTRY.
        coordinates: of the similarity "spherical": all, angular or radial.
        kernel: name in KERNEL_REGISTRY.
        embed_dim: L, dimensions of the embedding.
        order: "bin" (by index) or "time" (by the mean time of the members).
        test_num_bins: B outside training; None is as in training.
        grad_scale: factor of a kernel's straight-through gradient.
        norm: norm over (S, L) embeddings, of the same kind as the network's.
        batching: "packed"; or "padded" for a dense (N, C, max B', H, W) with zero frames behind the shorter clips, as
            in the paper's release: what follows mixes the padding in, and a clip then depends on its batch.
        pack_multiple: temporal buffers of the packed clips are rounded up to a multiple of it.
    Raises:
        ConfigError: for a name that is not registered, or a number that cannot be.
        FloatingPointError: in forward, when frames or embeddings are not finite; it names the layer and the clip.
        TypeError, ValueError: in forward, when what comes in is not floating point, empty, or of other channels.
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
        super().__init__()
        for bins in (num_bins, test_num_bins):
            if bins is not None and bins != -1 and not (type(bins) is int and 1 <= bins <= MAX_BINS):
                rule = f"it takes a whole number from 1 to {MAX_BINS}, or -1 for the block's length"
                raise ConfigError(f"SGS has {bins!r} bins; {rule}")
        if block_size < 0:
            raise ConfigError(f"SGS has block_size {block_size}; it takes at least 1, or 0 for the whole clip")
        if embed_dim < 1 + (similarity == "spherical" and coordinates != "radial"):
            raise ConfigError(f"SGS has embed_dim {embed_dim}; it takes at least 1, and 2 where there are angles")
        for name, value, choices in (("order", order, ("bin", "time")), ("batching", batching, ("packed", "padded"))):
            if value not in choices:
                raise ConfigError(f"SGS has {name} {value!r}; choose one of {', '.join(choices)}")
        self.num_bins, self.block_size, self.order, self.batching = num_bins, block_size, order, batching
        self.test_num_bins = num_bins if test_num_bins is None else test_num_bins
        self.similarity, self.kernel = similarity_named(similarity, coordinates), kernel_named(kernel)
        self.names = f"similarity={similarity}, coordinates={coordinates}, kernel={kernel}"
        self.grad_scale, self.pack_multiple = grad_scale, pack_multiple
        self.channels = channels
        self.embed = Embedding(channels, embed_dim, norm)
        self.label = "SGS"  # what errors call this layer
        self.observers: list[Callable[[SGS, Sampled], None]] = []

    def forward(self, x: Clips) -> Clips:
        return sample_together([self], [x])[0]

    def measure(self, x: Clips) -> Measured:
        """Embed the frames, measure them and put them into bins; nothing waits for the device."""
        frames, lengths = to_frames(x)
        self._check_input(frames)
        blocks = block_lengths(lengths, self.block_size)
        layout = Layout(tuple(length for clip in blocks for length in clip))
        wanted = self.num_bins if self.training else self.test_num_bins
        num_bins = [length if wanted == -1 else wanted for length in layout.lengths]
        with torch.autocast(frames.device.type, enabled=False), full_precision_matmul():
            total = frames.flatten(1, 2).sum(1, dtype=torch.promote_types(frames.dtype, torch.float32))
            means = total / (frames.shape[1] * frames.shape[2])  # the backward pass of mean would fill a copy of frames
            finite = torch.isfinite(means).all(dim=1)
            own = isinstance(self.embed, Embedding)  # another in its place takes means alone
            embeddings = self.embed(means, lengths) if own else self.embed(means)
            embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
            rows, real = _as_rows(embeddings.masked_fill(~finite[:, None], torch.nan), layout)
            coordinates = self.similarity(rows, real)
            offset, bins = assign_bins(
                coordinates, real, to_device(torch.tensor(num_bins, dtype=rows.dtype), rows.device)
            )
            bins = bins.masked_fill(~torch.isfinite(rows).flatten(1).all(1)[:, None, None], NON_FINITE)
        return Measured(frames, lengths, blocks, layout, finite, coordinates.values, offset, bins)

    def add_up(self, measured: Measured, host_bins: np.ndarray) -> Clips:
        """Weigh the frames of each active bin and add them up; host_bins is measured.bins on the host."""
        self._check_finite(measured, host_bins)
        plan = plan_bins(host_bins, measured.blocks, self.order)
        for observe in self.observers:
            observe(self, Sampled(measured, host_bins, plan))
        frames = measured.frames
        with torch.autocast(frames.device.type, enabled=False):
            output, number = upload((plan.output, np.arange(max(plan.counts))), frames.device)
            members = output[:, None, :] == number[:, None]  # (N, B', T)
            weights = self.kernel(measured.offset, members, self.grad_scale).to(frames.dtype)
            active = Layout(plan.counts).stacked()
            bins = AddUp.apply(weights, frames.flatten(1), measured.block_layout, active, plan.output)
        clips = from_frames(bins.view(-1, *frames.shape[1:]), plan.lengths, multiple=self.pack_multiple)
        if self.batching == "packed":
            return clips
        return to_dense(pad_lengths(clips, [max(plan.lengths)] * len(plan.lengths), where="end"))

    def extra_repr(self) -> str:
        return (
            f"num_bins={self.num_bins}, test_num_bins={self.test_num_bins}, block_size={self.block_size}, "
            f"{self.names}, order={self.order}, batching={self.batching}"
        )

    def __getstate__(self) -> dict:
        """Copies of the layer are watched by nobody."""
        return {**self.__dict__, "observers": []}

    def _check_input(self, frames: Tensor) -> None:
        channels = self.channels
        if not frames.is_floating_point():
            raise TypeError(f"{self.label}: frames are to be floating point, got {frames.dtype}; convert them before")
        if frames.numel() == 0 or frames.shape[-1] != channels:
            raise ValueError(
                f"{self.label}: frames are to be (S, H, W, {channels}) and at least one, got {tuple(frames.shape)}"
            )

    def _check_finite(self, measured: Measured, host_bins: np.ndarray) -> None:
        """A clip whose own frames are not finite is to blame before others, whose embeddings it has spoilt."""
        bad_blocks = (host_bins == NON_FINITE).any(axis=(1, 2))
        if not bad_blocks.any():
            return
        bad_frames = np.flatnonzero(~measured.finite.cpu().numpy())
        if len(bad_frames):
            clip = int(np.searchsorted(np.cumsum(measured.lengths), bad_frames[0], side="right"))
            what, remedy = "frames that come in", "the input is not finite, or what is before has diverged"
        else:
            ends = np.cumsum([len(blocks) for blocks in measured.blocks])
            clip = int(np.searchsorted(ends, np.flatnonzero(bad_blocks)[0], side="right"))
            what, remedy = "embeddings", "the weights have diverged: lower SOLVER.BASE_LR"
        raise FloatingPointError(
            f"{self.label}: the {what} of clip {clip} of the batch are not finite (NaN or infinity): {remedy}"
        )


class PathwaySGS(nn.Module):
    """SGS behind one stage of a network of several pathways; those that are not sampled pass as they are."""

    def __init__(self, samplers: dict[int, SGS], label: str) -> None:
        super().__init__()
        for pathway, sampler in samplers.items():
            sampler.label = f"{label}.pathway{pathway}"
            self.add_module(f"pathway{pathway}", sampler)
        self.sampled = tuple(samplers)

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        out = list(pathways)
        samplers = [getattr(self, f"pathway{pathway}") for pathway in self.sampled]
        sampled = sample_together(samplers, [pathways[pathway] for pathway in self.sampled])
        for pathway, clips in zip(self.sampled, sampled, strict=True):
            out[pathway] = clips
        return out


def sample_together(samplers: Sequence[SGS], inputs: Sequence[Clips]) -> list[Clips]:
    """Run several samplers with a single wait for the device: the bins of all of them reach the host in one copy."""
    measured = [sampler.measure(x) for sampler, x in zip(samplers, inputs, strict=True)]
    host = torch.cat([m.bins.flatten() for m in measured]).cpu().numpy()
    ends = np.cumsum([m.bins.numel() for m in measured])
    pieces = [host[end - m.bins.numel() : end].reshape(m.bins.shape) for m, end in zip(measured, ends, strict=True)]
    return [sampler.add_up(m, bins) for sampler, m, bins in zip(samplers, measured, pieces, strict=True)]


def _as_rows(values: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """(S, L) of blocks end to end -> (N, T, L), zero where no frame is, and which of the (N, T) are real.

    A free view for equal lengths.
    """
    count, longest = len(layout.lengths), max(layout.lengths)
    rows = place(values, layout.stacked()).view(count, longest, -1)
    if layout.is_even:
        return rows, torch.ones(count, longest, dtype=torch.bool, device=values.device)
    real = np.arange(longest) < np.asarray(layout.lengths)[:, None]
    return rows, to_device(torch.from_numpy(real), values.device)
