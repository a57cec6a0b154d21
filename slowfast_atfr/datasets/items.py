"""Items of data sets and loaders: a clip, the views of a video, a batch. Frames are uint8 RGB in (T, H, W, C)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Skip:
    """A video that could not be read: index in the data set, file or folder, and reason."""

    index: int
    path: str
    reason: str


@dataclass(frozen=True)
class Clip:
    """One clip for training or validation.

    frames: (T, H, W, 3) uint8, None if the video could not be read. index: of the video in the data set. In training
    an unreadable video is replaced, with label and index of the replacement. skipped: unreadable videos.
    """

    frames: Tensor | None
    label: int
    index: int
    skipped: tuple[Skip, ...] = ()

    def __post_init__(self) -> None:
        _check_frames(self.frames, ndim=4)


@dataclass(frozen=True)
class Views:
    """All views of one video, for testing.

    frames: (V, T, H, W, 3) uint8, view = clip * crops + crop; None if the video could not be read.
    """

    frames: Tensor | None
    label: int
    index: int
    skipped: tuple[Skip, ...] = ()

    def __post_init__(self) -> None:
        _check_frames(self.frames, ndim=5)

    def pin_memory(self) -> "Views":
        """Return a copy in page-locked memory; called by PyTorch's DataLoader."""
        return self if self.frames is None else replace(self, frames=self.frames.pin_memory())


@dataclass(frozen=True)
class Batch:
    """A batch of clips or views.

    frames: (N, T, H, W, 3) uint8, None for N = 0, if no video could be read. labels, index, view: (N,) int64: class,
    index of the video in the data set, and index of the view (0 except in tests). skipped: unreadable videos.
    """

    frames: Tensor | None
    labels: Tensor
    index: Tensor
    view: Tensor
    skipped: tuple[Skip, ...] = ()

    def __post_init__(self) -> None:
        _check_frames(self.frames, ndim=5)
        sizes = [0 if self.frames is None else len(self.frames), len(self.labels), len(self.index), len(self.view)]
        if len(set(sizes)) != 1:
            raise ValueError(f"frames, labels, index, view are of {', '.join(map(str, sizes))} clips")

    def __len__(self) -> int:
        return len(self.labels)

    def pin_memory(self) -> "Batch":
        """Return a copy in page-locked memory; called by PyTorch's DataLoader."""
        tensors = {name: getattr(self, name) for name in ("frames", "labels", "index", "view")}
        return replace(self, **{name: t.pin_memory() for name, t in tensors.items() if t is not None})

    def to(self, device: torch.device) -> "Batch":
        """Copy frames and labels to a device, asynchronously if pinned."""
        frames = None if self.frames is None else self.frames.to(device, non_blocking=True)
        return replace(self, frames=frames, labels=self.labels.to(device, non_blocking=True))


def collate_clips(items: list[Clip | tuple[Clip, ...]]) -> Batch:
    """Collate the readable clips into a batch; clips of a tuple stay adjacent."""
    clips = [clip for item in items for clip in (item if isinstance(item, tuple) else (item,))]
    read = [clip for clip in clips if clip.frames is not None]
    return Batch(
        frames=torch.stack([clip.frames for clip in read]) if read else None,
        labels=torch.tensor([clip.label for clip in read], dtype=torch.int64),
        index=torch.tensor([clip.index for clip in read], dtype=torch.int64),
        view=torch.zeros(len(read), dtype=torch.int64),
        skipped=tuple(skip for clip in clips for skip in clip.skipped),
    )


def _check_frames(frames: Tensor | None, ndim: int) -> None:
    if frames is not None and (frames.ndim != ndim or frames.shape[-1] != 3 or frames.dtype != torch.uint8):
        dims = "(N, T, H, W, 3)" if ndim == 5 else "(T, H, W, 3)"
        raise ValueError(f"frames are uint8 in {dims}, got {frames.dtype} in {tuple(frames.shape)}")
