"""SGS by segments: merge neighbouring frames where that loses least, so that cost depends on the change in a clip."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs.bins import NON_FINITE
from slowfast_atfr.sgs.export_segments import group_clip, losses_of_clip
from slowfast_atfr.sgs.overlap import map_extents, overlap
from slowfast_atfr.sgs.segments import (
    GRID,
    LEAST_PENALTY,
    LOSSES,
    SEGMENT_MAPS,
    STATIC,
    Cuts,
    counts_above,
    gains,
    map_weights,
    motion_curve,
    size_penalty,
    squared_distances,
    update_quantiles,
)
from slowfast_atfr.sgs.temporal_sampler import (
    Frames,
    Groups,
    Measured,
    TemporalSampler,
    as_rows,
    real_frames,
)
from slowfast_atfr.utils.upload import upload

logger = logging.getLogger(__name__)
FEATURES = ("mean", "grid")  # checkpoints hold indices into this and LOSSES: append only
THRESHOLDS = ("spread", "cuts", "gain_quantiles", "learnt_for")  # buffers learnt from training clips; zero at first
LEVELS = 101  # quantiles of the gains that are kept
MOMENTUM = 0.05  # of running values


@dataclass(frozen=True)
class Segments:
    """Where N blocks of at most T frames are cut.

    counts: (N,) segments of each block.
    numbers: (N, T) segment of each frame; None where segments share frames.
    extents: (N, T) of frames where segments share them, see `map_extents`.
    """

    counts: np.ndarray
    numbers: np.ndarray | None = None
    extents: np.ndarray | None = None

    def groups(self, bad: np.ndarray) -> Groups:
        """The groups of the frames; bad: (N,) blocks that cannot be cut."""
        numbers, shares = (self.numbers, None) if self.extents is None else overlap(self.extents, self.counts)
        return Groups(np.where(bad[:, None], NON_FINITE, numbers)[..., None], shares)


class SegmentSGS(TemporalSampler):
    """Cut each clip into segments of neighbouring frames and output one map of each.

    The cuts minimise a loss plus size_penalty times the sum of squared shares of the block's frames (a large one:
    uniform pooling). The loss "variance" is that of features within segments, as a share of the block's. "motion" is
    the sum of the squared shares of time in which segments move: they move for about the same time each, and the longer
    a block moves, the more of them it has. Features are not learnt and get no gradient.

    With target_maps a clip is cut as long as one more cut saves more than a threshold, which serves all clips, since
    losses are relative to the block's variance or squared typical step; for nearly static blocks to a tenth of the
    average training block's, so they become one map. The threshold is a running quantile over training clips, at which
    a block has target_maps segments on average. Equal blocks have equal numbers, so the mean may be off where many are.
    All quantiles are kept, so test_target_maps may be any other number. They belong to a loss, features and a penalty.

    Takes (N, C, T, H, W) or packed clips; returns packed clips of B' <= T frames each. The running values stay in
    float32 if the layer is converted. In evaluation a clip's result does not depend on its neighbours; in training the
    running values do.

    Args:
        channels: C.
        num_bins: segments of each block, at most its frames; -1 is their number.
        block_size: frames that are cut together; 0 is the whole clip. A clip's last block may be shorter.
        target_maps: segments of a block on average, > 0; None: num_bins of each block.
        size_penalty: >= 0.
        features: "mean" over space; "grid", means over 4 x 4 cells.
        loss: "variance" or "motion".
        segment_map: what a segment becomes: the "mean" of its frames, or the one in its "middle". With "overlap" it is
            a mean, too, but segments have equal parts of the block's change, and share a frame that has a border
            within it; see `overlap`.
        test_num_bins, test_target_maps: the same outside training; None is as in training.
        batching, pack_multiple: see SGS.
    Raises:
        ConfigError: for a number out of range or an unknown name.
        FloatingPointError, TypeError, ValueError: in forward, as SGS.
    Source: ours. Merging of adjacent segments at least cost is Ward, 1963; exact segmentation by dynamic programming is
        Bellman, 1961; size-weighted merging of tokens is Bolya et al., ICLR 2023.
    """

    def __init__(
        self,
        channels: int,
        num_bins: int = -1,
        block_size: int = 0,
        *,
        target_maps: float | None = None,
        size_penalty: float = 0.0,
        features: str = "mean",
        loss: str = "variance",
        segment_map: str = "mean",
        test_num_bins: int | None = None,
        test_target_maps: float | None = None,
        batching: str = "packed",
        pack_multiple: int = 1,
    ) -> None:
        super().__init__(
            channels, num_bins, block_size, test_num_bins=test_num_bins, batching=batching, pack_multiple=pack_multiple
        )
        for target in (target_maps, test_target_maps):
            if target is not None and not 1 <= target < float("inf"):
                raise ConfigError(f"SGS has a target of {target!r} maps; it takes a number from 1 on")
        if not 0 <= size_penalty < float("inf"):
            raise ConfigError(f"SGS has size_penalty {size_penalty!r}; it takes a number from 0 on")
        options = ("features", features, FEATURES), ("loss", loss, LOSSES), ("segment_map", segment_map, SEGMENT_MAPS)
        for name, value, choices in options:
            if value not in choices:
                raise ConfigError(f"SGS has {name} {value!r}; choose one of {', '.join(choices)}")
        for bins, target in ((num_bins, target_maps), (test_num_bins, test_target_maps)):
            if bins not in (None, -1) and target is not None:
                raise ConfigError(f"SGS has {bins} bins and a target of {target} maps; choose one")
        self.target_maps, self.size_penalty, self.features, self.loss = target_maps, size_penalty, features, loss
        self.segment_map = segment_map
        own_test = test_target_maps is not None or test_num_bins is not None
        self.test_target_maps = test_target_maps if own_test else target_maps
        self.register_buffer("spread", torch.zeros(()))  # running mean of the blocks' units, see `losses`; 0: not seen
        self.register_buffer("cuts", torch.zeros(()))  # running mean of the cuts that a block has at most; 0: not seen
        self.register_buffer("gain_quantiles", torch.zeros(LEVELS))  # of what cuts save, from 0 to 100 %
        self.register_buffer("learnt_for", torch.zeros(4))  # the `_settings` of these; 0: not recorded

    measures = "distances between the frames"

    def measure_frames(self, batch: Frames) -> Measured:
        """Distances between the frames of each block."""
        with torch.no_grad():
            features = batch.means
            if self.features == "grid":
                cells = F.adaptive_avg_pool2d(batch.frames.permute(0, 3, 1, 2), GRID)
                features = cells.flatten(1).to(batch.means.dtype)
            distances = squared_distances(as_rows(features, batch.block_layout)) / features.shape[1]
            steps = F.pad(distances.diagonal(1, 1, 2).sqrt(), (1, 0))  # (N, T) from the frame before
            running = torch.cat([self.spread[None], self.cuts[None], self.gain_quantiles]).to(distances.dtype)
            return Measured(batch, steps[..., None], torch.cat([running, distances.flatten()]))

    def group(self, measured: Measured, host: np.ndarray) -> Groups:
        losses, bad = self.losses(measured, host)
        return self.cut(losses, bad, measured.batch.block_layout.lengths, host).groups(bad)

    def losses(self, measured: Measured, host: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss of each segment, and which blocks are bad.

        The unit is the block's variance or squared typical step, and at least STATIC of the average training block's.
        In training also update `spread`, that average.

        Returns:
            (N, T + 1, T + 1) as in `segment_losses`, (N,) whether features of the block are not finite.
        """
        batch = measured.batch
        real = real_frames(batch.block_layout)
        count, longest = real.shape
        distances = host[2 + LEVELS :].reshape(count, longest, longest)
        bad = ~np.isfinite(distances).all(axis=(1, 2))
        sizes = real.astype(np.float64)
        if batch.sizes is not None:
            sizes[real] = batch.sizes
        distances = np.where(bad[:, None, None], 0, distances).astype(np.float64)
        unit, relative = LOSSES[self.loss](distances, sizes)
        spread = float(host[0])
        if self.training and not bad.any():
            spread += (MOMENTUM if spread else 1) * (unit.mean() - spread)
            self._keep(self.spread, np.array(spread))
            if not host[0]:
                self._keep(self.learnt_for, self._settings())
        return relative(np.maximum(unit, STATIC * spread)), bad

    def cut(self, losses: np.ndarray, bad: np.ndarray, lengths: Sequence[int], host: np.ndarray) -> "Segments":
        """Cut blocks into segments; losses and bad are those of `losses`.

        In training also update `gain_quantiles` and `cuts`.
        """
        lengths, longest = np.asarray(lengths), losses.shape[1] - 1
        target = self.target_maps if self.training else self.test_target_maps
        wanted = self.num_bins if self.training else self.test_num_bins
        counts = lengths if wanted == -1 else np.minimum(wanted, lengths)
        all_counts = self.training or target is not None
        best, divided = None, self.segment_map == "overlap"
        if not divided or (all_counts and self.loss == "variance"):
            penalty = max(self.size_penalty, LEAST_PENALTY) * size_penalty(lengths, longest)
            best = Cuts(losses + penalty, losses, lengths, longest if all_counts else max(counts))
        if all_counts:
            cuts, quantiles = float(host[1]), host[2 : 2 + LEVELS].astype(np.float64)
            if self.loss == "motion":
                curve = motion_curve(losses[np.arange(len(lengths)), 0, lengths], lengths, longest)
            else:
                curve = best.curve
            saved = gains(curve)
            if self.training and not bad.any() and longest > 1:
                seen = saved[np.arange(1, longest) < lengths[:, None]]
                quantiles = update_quantiles(quantiles, seen, MOMENTUM)
                cuts += (MOMENTUM if cuts else 1) * (lengths.mean() - 1 - cuts)
                self._keep(self.gain_quantiles, quantiles)
                self._keep(self.cuts, np.array(cuts))
            if target is not None:
                counts = counts_above(saved, lengths, target, quantiles, cuts)
        if divided:
            return Segments(counts, extents=map_extents(losses, lengths, counts, self.size_penalty))
        return Segments(counts, best.segments(counts))

    def weigh(self, measured: Measured, shares: np.ndarray) -> Tensor:
        """`map_weights`, by the frames of the video; on the host, where nothing depends on the order of sums."""
        batch = measured.batch
        sizes = real_frames(batch.block_layout).astype(np.float64)
        if batch.sizes is not None:
            sizes[sizes > 0] = batch.sizes
        members = shares if shares.ndim == 3 else shares[:, None] == np.arange(shares.max() + 1)[:, None]
        weights = map_weights(torch.from_numpy(members), torch.from_numpy(sizes)[:, None], self.segment_map)
        return upload([weights.to(batch.means.dtype).numpy()], batch.means.device)[0]

    def group_clip(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        return group_clip(self, losses_of_clip(self, clip))

    def macs(self, lengths: Sequence[int]) -> float:
        """Multiply-adds of the distances."""
        features = self.channels * (GRID**2 if self.features == "grid" else 1)
        return features * sum(length**2 for length in lengths)

    def extra_repr(self) -> str:
        return (
            f"num_bins={self.num_bins}, target_maps={self.target_maps}, test_num_bins={self.test_num_bins}, "
            f"test_target_maps={self.test_target_maps}, block_size={self.block_size}, "
            f"size_penalty={self.size_penalty}, features={self.features}, loss={self.loss}, "
            f"segment_map={self.segment_map}, batching={self.batching}"
        )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SegmentSGS":
        super()._apply(fn, recurse)
        for name in THRESHOLDS:
            setattr(self, name, getattr(self, name).float())
        return self

    def _settings(self) -> np.ndarray:
        """(4,) loss, features, penalty and block size, as numbers; the first two are not 0."""
        names = 1 + [*LOSSES].index(self.loss), 1 + FEATURES.index(self.features)
        return np.array([*names, self.size_penalty, self.block_size])

    def _are_mine(self, learnt_for: Tensor) -> bool:
        """Whether a file's settings are this layer's, or not recorded. The file may be in half precision."""
        if learnt_for.is_meta or not learnt_for.any():
            return True
        return np.allclose(learnt_for.double().cpu().numpy(), self._settings(), rtol=1e-2)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Skip thresholds that were learnt with other settings; older files do not record them, and are loaded."""
        names = {name: prefix + name for name in THRESHOLDS}
        known = state_dict.get(names["learnt_for"])
        if known is None and names["gain_quantiles"] in state_dict:
            state_dict = state_dict | {names["learnt_for"]: torch.zeros_like(self.learnt_for)}
        elif known is not None and not self._are_mine(known):
            logger.warning(
                "%s: the thresholds in the file are ignored; they were learnt with another SGS.SEGMENT_LOSS, FEATURES, "
                "SIZE_PENALTY or BLOCK_SIZE",
                self.label,
            )
            given = {name: state_dict[name] for name in names.values() if name in state_dict}
            state_dict = state_dict | {name: torch.zeros_like(value) for name, value in given.items()}
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def _keep(self, buffer: Tensor, value: np.ndarray) -> None:
        buffer.copy_(upload([value], buffer.device)[0])


def is_threshold(name: str) -> bool:
    """Whether a name in a state dict is a threshold of segments."""
    return name.rpartition(".")[2] in THRESHOLDS
