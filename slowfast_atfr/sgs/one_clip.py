"""SGS on one clip with tensors only, for torch.export: no step needs the host, and B' is a symbol.

Pure functions of the T frames of a clip, cut into N blocks; B' is the number of groups with a member. The results are
those of `plan_bins` and `AddUp`, which group a batch on the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.config import ConfigError


@dataclass(frozen=True)
class Grouped:
    """What a layer did to an exported clip, for observers.

    members: (B', T) bool, frames of each output map, or shares of frames.
    """

    members: Tensor


def in_blocks(values: Tensor, block_size: int, label: str) -> tuple[Tensor, Tensor]:
    """Cut the frames of a clip into blocks.

    Args:
        values: (T, L).
        block_size: frames of a block; 0 is the whole clip.
        label: of the layer, for errors.
    Returns:
        (N, T', L), zero where the last block has ended; (N, T') bool, which frames exist.
    Raises:
        ConfigError: for blocks of a clip whose length is a symbol: an earlier SGS layer has shortened it.
    """
    length = values.shape[0]
    if block_size == 0:
        return values[None], torch.ones(1, length, dtype=torch.bool, device=values.device)
    if isinstance(length, torch.SymInt):
        raise ConfigError(
            f"{label} cuts clips into blocks of {block_size} maps after another SGS layer, whose number of output maps "
            "is only known at run time: that cannot be exported. Export with SGS.BLOCK_SIZE [0], or with one stage in "
            "SGS.STAGES"
        )
    blocks = -(-length // block_size)
    rows = F.pad(values, (0, 0, 0, blocks * block_size - length)).view(blocks, block_size, -1)
    time = torch.arange(blocks * block_size, device=values.device)
    return rows, (time < length).view(blocks, block_size)


def out_of_blocks(rows: Tensor, length: int) -> Tensor:
    """(N, T', ...) -> (T, ...): inverse of `in_blocks`."""
    return rows.flatten(0, 1)[:length] if len(rows) > 1 else rows[0, :length]


def block_of_frames(rows: Tensor, length: int) -> Tensor:
    """(T,) the number of each frame's block; rows: (N, T', ...)."""
    numbers = torch.arange(rows.shape[0], device=rows.device)
    return out_of_blocks(numbers[:, None].expand(rows.shape[:2]), length)


def block_of_length(lengths: Sequence[int]) -> Tensor:
    """(T,) the number of each frame's block, of blocks of these lengths."""
    return torch.cat([torch.full((length,), number) for number, length in enumerate(lengths)])


def members_of(block: Tensor, cells: Sequence[Tensor], order: str) -> Tensor:
    """Find the groups of a clip: frames of one block and one cell are a group.

    Args:
        block: (T,) block of each frame, non-decreasing.
        cells: K vectors (T,), the coordinates of each frame's cell.
        order: of the groups of a block: "bin" by cell, "time" by the mean time of the members, then by cell.
    Returns:
        (B', T) bool, each column has one True. 1 <= B' <= T.
    """
    time = torch.arange(block.shape[0], device=block.device)
    same = _all_equal((block, *cells))
    keys = [block, *cells]
    if order == "time":
        keys.insert(1, (same * time).sum(1) / same.sum(1))
    is_first = ~(same & (time[None, :] < time[:, None])).any(1)  # of its group
    rank = (_precedes(keys) & is_first[:, None]).sum(0)  # groups before each frame's own
    count = is_first.nonzero().shape[0]
    torch._check(count >= 1)
    torch._check(count <= block.shape[0])
    return rank[None, :] == torch.arange(count, device=block.device)[:, None]


def add_up(weights: Tensor, clip: Tensor) -> Tensor:
    """Weighted sums of frames: weights (B', T), clip (1, C, T, H, W) -> (1, C, B', H, W), one matrix product."""
    frames = clip[0].transpose(0, 1)  # (T, C, H, W)
    added = weights.to(clip.dtype) @ frames.flatten(1)
    return added.unflatten(1, frames.shape[1:]).transpose(0, 1)[None]


def _all_equal(keys: Sequence[Tensor]) -> Tensor:
    """(T, T) whether frames s and t have the same keys, each (T,)."""
    equal = keys[0][:, None] == keys[0][None, :]
    for key in keys[1:]:
        equal = equal & (key[:, None] == key[None, :])
    return equal


def _precedes(keys: Sequence[Tensor]) -> Tensor:
    """(T, T) whether the keys of frame s come before those of frame t, the first key counting most."""
    before = keys[-1][:, None] < keys[-1][None, :]
    for key in reversed(keys[:-1]):
        mine, other = key[:, None], key[None, :]
        before = (mine < other) | ((mine == other) & before)
    return before
