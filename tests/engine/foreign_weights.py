"""Checkpoints as others write them, names of Caffe2 and torchvision written by hand; random networks to fill them."""

from collections.abc import Sequence

import torch

from slowfast_atfr.engine.checkpoint.file import CheckpointFile

R50 = (3, 4, 6, 3)
COUNTER = "num_batches_tracked"
CAFFE2_NORM = {"s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}
TORCH_NORM = ("weight", "bias", "running_mean", "running_var")


def caffe2_names(depths: Sequence[int], letters: str, pathways: int) -> dict[str, str]:
    """Blob -> name in PySlowFast's own files, of a network with res2 .. res5 of these depths.

    letters: of the convolutions of a block, abc or ab. Every first block has a projection (branch1).
    """
    table = {"pred_w": "head.projection.weight", "pred_b": "head.projection.bias"}

    def norm(blob: str, name: str) -> None:
        for short, leaf in CAFFE2_NORM.items():
            table[f"{blob}_bn_{short}"] = f"{name}.{leaf}"

    for pathway, fast in enumerate(("", "t_")[:pathways]):
        table[f"{fast}conv1_w"] = f"s1.pathway{pathway}_stem.conv.weight"
        norm(f"{fast}res_conv1", f"s1.pathway{pathway}_stem.bn")
        for stage, depth in enumerate(depths, start=2):
            for block in range(depth):
                blob, name = f"{fast}res{stage}_{block}_branch", f"s{stage}.pathway{pathway}_res{block}.branch"
                for letter in letters:
                    table[f"{blob}2{letter}_w"] = f"{name}2.{letter}.weight"
                    norm(f"{blob}2{letter}", f"{name}2.{letter}_bn")
                if block == 0:
                    table[f"{blob}1_w"] = f"{name}1.weight"
                    norm(f"{blob}1", f"{name}1_bn")
    if pathways == 2:
        ends = [f"t_res{stage}_{depth - 1}_branch2{letters[-1]}_bn" for stage, depth in enumerate(depths[:3], start=2)]
        for stage, blob in enumerate(["t_pool1", *ends], start=1):
            table[f"{blob}_subsample_w"] = f"s{stage}_fuse.conv_f2s.weight"
            norm(f"{blob}_subsample", f"s{stage}_fuse.bn")
    return table


def torchvision_shapes(depths: Sequence[int], *, width: int = 64, classes: int = 1000) -> dict[str, tuple[int, ...]]:
    """Name -> shape of torchvision's ResNet with bottlenecks (He et al., CVPR 2016)."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{leaf}": (channels,) for leaf in TORCH_NORM})
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["conv1.weight"] = (width, 3, 7, 7)
    norm("bn1", width)
    channels = width
    for layer, depth in enumerate(depths, start=1):
        inner = width * 2 ** (layer - 1)
        for block in range(depth):
            name = f"layer{layer}.{block}"
            for number, shape in enumerate(
                [(inner, channels, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1)], start=1
            ):
                shapes[f"{name}.conv{number}.weight"] = shape
                norm(f"{name}.bn{number}", shape[0])
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * inner, channels, 1, 1)
                norm(f"{name}.downsample.1", 4 * inner)
            channels = 4 * inner
    shapes |= {"fc.weight": (classes, channels), "fc.bias": (classes,)}
    return shapes


@torch.no_grad()
def shuffled(net):
    for name, value in net.state_dict().items():
        if not name.endswith(COUNTER):
            value.uniform_(0.5, 1.5) if value.ndim < 2 else value.normal_(std=0.1)
    return net


def clips(net, frames=8):
    """Input of a network: a clip that moves."""
    fast = torch.randn(1, 3, frames, 32, 32, generator=torch.Generator().manual_seed(1)).cumsum(2)
    return [fast[:, :, ::4], fast] if hasattr(net, "s1_fuse") else [fast]


def weights_of(net):
    return {name: value for name, value in net.state_dict().items() if not name.endswith(COUNTER)}


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


def of_torch(weights, **rest):
    return CheckpointFile("file.pyth", "pytorch", dict(weights), rest)
