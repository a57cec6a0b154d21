"""What oneDNN takes of torch's 3-D convolutions on a CPU."""

from slowfast_atfr.packed.clips import PackedClips

# torch gives a batch of one to oneDNN only when C x T x H is above this, or the convolution has groups; what is left
# runs on a slow kernel.
ONEDNN_FROM = 20480
SLOWNESS = 3  # how many times as much that costs, at least


def has_onednn(batch: int, channels: int, frames: int, height: int) -> bool:
    return batch > 1 or channels * frames * height > ONEDNN_FROM


def onednn_from(x: PackedClips, groups: int) -> int:
    """Frames of a batch of one from which oneDNN takes it."""
    return 0 if groups > 1 or x.device.type != "cpu" else ONEDNN_FROM // (x.shape[1] * x.shape[3]) + 1
