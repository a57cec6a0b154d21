"""A temporal sampler as a module: measure the frames of a batch, group them on the host, add up each group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, fx, nn

from slowfast_atfr.config import MAX_BINS, ConfigError
from slowfast_atfr.packed import (
    Clips,
    from_frames,
    pad_lengths,
    sizes_of,
    to_dense,
    to_frames,
    with_sizes,
)
from slowfast_atfr.packed.gather_scatter import scatter_clips
from slowfast_atfr.packed.layout import Layout
from slowfast_atfr.sgs.bins import NON_FINITE, AddUp, BinPlan, block_lengths, plan_bins
from slowfast_atfr.sgs.one_clip import Grouped, add_up
from slowfast_atfr.utils.exporting import is_exporting
from slowfast_atfr.utils.precision import full_precision_matmul

NO_JIT = (
    "torch.jit.trace and torch.jit.script take no network with SGS, whose clips change length with their content; "
    "compile the stages before it, or run the model without torch.jit"
)


@dataclass(frozen=True)
class Frames:
    """The input of samplers. N blocks of at most T frames."""

    frames: Tensor  # (S, H, W, C), all clips end to end
    means: Tensor  # (S, C) over space
    sizes: np.ndarray | None  # (S,) frames of the video that each represents; None: one each
    lengths: tuple[int, ...]  # frames of each clip
    blocks: tuple[tuple[int, ...], ...]  # frames of each block of each clip
    block_layout: Layout  # of all blocks end to end
    finite: Tensor  # (S,) whether the frame itself is finite


@dataclass(frozen=True)
class Measured:
    """Measurements of a batch on the device. N blocks of at most T frames."""

    batch: Frames
    similarity: Tensor  # (N, T, K) Delta
    for_host: Tensor  # what the host needs to group the frames
    offset: Tensor | None = None  # (N, T, K) u minus the centre of the frame's bin, where there are bins

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.batch.lengths

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        return self.batch.blocks


@dataclass(frozen=True)
class Groups:
    """How the frames of a batch are grouped, on the host. N blocks of at most T frames.

    bins: (N, T, K) the group of each frame, as K numbers; NON_FINITE in all of a block that cannot be grouped.
    shares: (N, B, T) of each frame in each group, where neighbouring groups share frames. The bins are then those with
        the frames' middles; every group has one.
    """

    bins: np.ndarray
    shares: np.ndarray | None = None


@dataclass(frozen=True)
class Sampled:
    """What one layer did to a batch, for observers; see `record`."""

    measured: Measured
    host_bins: np.ndarray = field(repr=False)  # (N, T, K)
    plan: BinPlan


class TemporalSampler(nn.Module):
    """The common part of samplers: group the frames of each block on the host, add up each group, return packed clips.

    A subclass defines `measure_frames`, `group`, `weigh` and `macs`, and `group_clip` for torch.export.

    Args:
        channels: C of the frames.
        num_bins: groups of each block; -1 is as many as the block has frames.
        test_num_bins: the same outside training; None is as in training.
        block_size, order, batching, pack_multiple: see SGS.
    """

    def __init__(
        self,
        channels: int,
        num_bins: int = -1,
        block_size: int = 0,
        *,
        test_num_bins: int | None = None,
        order: str = "bin",
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
        for name, value, choices in (("order", order, ("bin", "time")), ("batching", batching, ("packed", "padded"))):
            if value not in choices:
                raise ConfigError(f"SGS has {name} {value!r}; choose one of {', '.join(choices)}")
        self.channels, self.num_bins, self.block_size = channels, num_bins, block_size
        self.test_num_bins = num_bins if test_num_bins is None else test_num_bins
        self.order, self.batching, self.pack_multiple = order, batching, pack_multiple
        self.label = "SGS"  # what errors call this layer
        self.observers: list[Callable[[TemporalSampler, Sampled | Grouped], None]] = []

    measures = "embeddings"  # what errors call the result of measure_frames

    def measure_frames(self, batch: Frames) -> Measured:
        """Measure the frames on the device, in full precision and outside of autocast, without waiting for it."""
        raise NotImplementedError

    def group(self, measured: Measured, host: np.ndarray) -> Groups:
        """Group the frames.

        Args:
            host: (for_host.numel(),) measured.for_host on the host.
        """
        raise NotImplementedError

    def weigh(self, measured: Measured, shares: np.ndarray) -> Tensor:
        """(N, B', T) weights of the frames in each group, on the device.

        Args:
            shares: (N, T) the group of each frame, or (N, B', T) shares of frames, as for `AddUp`.
        """
        raise NotImplementedError

    def macs(self, lengths: Sequence[int]) -> float:
        """Multiply-adds to measure blocks of these lengths."""
        raise NotImplementedError

    def group_clip(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Group the maps of one clip with tensors only, see `one_clip`.

        Args:
            clip: (1, C, T, H, W).
        Returns:
            (B', T) bool, members of each group, or shares of frames; (B', T) their weights.
        """
        raise NotImplementedError

    def sample_clip(self, clip: Tensor) -> Tensor:
        """One clip without the host, for torch.export: (1, C, T, H, W) -> (1, C, B', H, W), B' a symbol."""
        return self.add_up_clip(clip, *self.group_clip(clip))

    def add_up_clip(self, clip: Tensor, members: Tensor, weights: Tensor) -> Tensor:
        """Add up the groups of one clip; members and weights are those of `group_clip`."""
        if clip.shape[0] != 1:
            raise ConfigError(f"{self.label}: a network with SGS is exported for one clip, got a batch of {len(clip)}")
        for observe in self.observers:
            observe(self, Grouped(members))
        return add_up(weights, clip)

    def forward(self, x: Clips) -> Clips:
        if isinstance(x, fx.Proxy):  # a leaf for torch.fx, as layers of torch.nn
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})
        return sample_together([self], [x])[0]

    def __prepare_scriptable__(self) -> nn.Module:
        raise NotImplementedError(f"{self.label}: {NO_JIT}")

    def measure(self, x: Clips) -> Measured:
        """Measure a batch, without waiting for the device."""
        frames, lengths = to_frames(x)
        self._check_input(frames)
        blocks = block_lengths(lengths, self.block_size)
        layout = Layout(tuple(length for clip in blocks for length in clip))
        with torch.autocast(frames.device.type, enabled=False), full_precision_matmul():
            total = frames.flatten(1, 2).sum(1, dtype=torch.promote_types(frames.dtype, torch.float32))
            means = total / (frames.shape[1] * frames.shape[2])  # the backward pass of mean would fill a copy of frames
            finite = torch.isfinite(means).all(dim=1)
            return self.measure_frames(Frames(frames, means, sizes_of(x), lengths, blocks, layout, finite))

    def add_up(self, measured: Measured, groups: Groups) -> Clips:
        """Weigh the frames of each group and add them up."""
        batch, bins = measured.batch, groups.bins
        self._check_finite(batch, bins)
        plan = plan_bins(bins, batch.blocks, self.order)
        for observe in self.observers:
            observe(self, Sampled(measured, bins, plan))
        frames, shares = batch.frames, plan.output if groups.shares is None else groups.shares
        with torch.autocast(frames.device.type, enabled=False):
            weights = self.weigh(measured, shares).to(frames.dtype)
            active = Layout(plan.counts).stacked()
            added = AddUp.apply(weights, frames.flatten(1), batch.block_layout, active, shares)
        clips = from_frames(added.view(-1, *frames.shape[1:]), plan.lengths, round_to=self.pack_multiple)
        if self.batching == "packed":
            return with_sizes(clips, group_sizes(shares, plan.counts, batch.block_layout, batch.sizes))
        return to_dense(pad_lengths(clips, [max(plan.lengths)] * len(plan.lengths), where="end"))

    def __getstate__(self) -> dict:
        """Copies of the layer have no observers."""
        return {**self.__dict__, "observers": []}

    def _check_input(self, frames: Tensor) -> None:
        channels = self.channels
        if not frames.is_floating_point():
            raise TypeError(f"{self.label}: frames must be floating point, got {frames.dtype}; convert them first")
        if frames.numel() == 0 or frames.shape[-1] != channels:
            raise ValueError(
                f"{self.label}: frames must be (S, H, W, {channels}), at least one, got {tuple(frames.shape)}"
            )

    def _check_finite(self, batch: Frames, bins: np.ndarray) -> None:
        """Report clips with frames that are not finite first: batch statistics spread them to embeddings of others."""
        bad_blocks = (bins == NON_FINITE).any(axis=(1, 2))
        if not bad_blocks.any():
            return
        bad_frames = np.flatnonzero(~batch.finite.cpu().numpy())
        if len(bad_frames):
            clip = int(np.searchsorted(np.cumsum(batch.lengths), bad_frames[0], side="right"))
            what, remedy = "input frames", "the input is not finite, or layers before have diverged"
        else:
            ends = np.cumsum([len(blocks) for blocks in batch.blocks])
            clip = int(np.searchsorted(ends, np.flatnonzero(bad_blocks)[0], side="right"))
            what, remedy = self.measures, "the weights have diverged: lower SOLVER.BASE_LR"
        raise FloatingPointError(
            f"{self.label}: the {what} of clip {clip} of the batch are not finite (NaN or infinity): {remedy}"
        )


def sample_together(samplers: Sequence[TemporalSampler], inputs: Sequence[Clips]) -> list[Clips]:
    """Run several samplers with one copy to the host, and so one wait for the device."""
    if torch.jit.is_tracing():
        raise NotImplementedError(f"{samplers[0].label}: {NO_JIT}")
    if is_exporting():
        return [sampler.sample_clip(x) for sampler, x in zip(samplers, inputs, strict=True)]
    measured = [sampler.measure(x) for sampler, x in zip(samplers, inputs, strict=True)]
    triples = zip(samplers, measured, on_host(measured), strict=True)
    return [sampler.add_up(seen, sampler.group(seen, host)) for sampler, seen, host in triples]


def on_host(measured: Sequence[Measured]) -> list[np.ndarray]:
    """The `for_host` of each, flattened; one copy, and one wait for the device."""
    host = torch.cat([seen.for_host.detach().flatten() for seen in measured]).cpu().numpy()
    return np.split(host, np.cumsum([seen.for_host.numel() for seen in measured])[:-1])


def group_sizes(
    shares: np.ndarray, counts: Sequence[int], layout: Layout, sizes: np.ndarray | None
) -> tuple[float, ...]:
    """Frames of the video that each group represents, all groups end to end.

    Args:
        shares: see `AddUp`.
        counts: groups of each block.
        layout: of the frames of the blocks.
        sizes: of these frames, all end to end; None: one each.
    """
    if shares.ndim == 3:
        rows = real_frames(layout).astype(np.float64)
        if sizes is not None:
            rows[rows > 0] = sizes
        each = np.einsum("nbt,nt->nb", shares, rows)
        return tuple(each[np.arange(each.shape[1]) < np.asarray(counts)[:, None]].tolist())
    block = np.repeat(np.arange(len(layout.lengths)), layout.lengths)
    first = np.cumsum(counts) - counts
    own = shares[shares >= 0] + first[block]
    return tuple(np.bincount(own, weights=sizes).tolist())


def as_rows(values: Tensor, layout: Layout) -> Tensor:
    """(S, L) of blocks end to end -> (N, T, L), zero where a block has ended; a view for equal lengths."""
    return scatter_clips(values, layout.stacked()).view(len(layout.lengths), max(layout.lengths), -1)


def real_frames(layout: Layout) -> np.ndarray:
    """(N, T) where a block has a frame."""
    return np.arange(max(layout.lengths)) < np.asarray(layout.lengths)[:, None]
