"""The networks of docs/networks.md: where each comes from, the clips that it takes, and where SGS goes."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

CLASSES = 5
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for the stand-ins, which are those of the tests


@dataclass(frozen=True)
class Network:
    """One row of the page.

    name, library: as its users know it.
    make: builds it with random weights; None where the library is not installed.
    after: the submodule that SGS follows.
    clip: (T, H, W) of its clips.
    options: of insert_sgs.
    compiles: whether torch.compile is tried, which takes minutes: for one network of a library.
    """

    name: str
    library: str
    make: Callable[[], nn.Module]
    after: str
    clip: tuple[int, int, int] = (16, 64, 64)
    options: dict[str, Any] = field(default_factory=dict)
    compiles: bool = False


def torchvision(name: str) -> nn.Module:
    _without_its_operators()
    return getattr(import_module("torchvision.models.video"), name)(num_classes=CLASSES)


def pytorchvideo(name: str, part: str, **options: Any) -> nn.Module:
    _without_its_operators()  # its heads import torchvision
    module = import_module(f"pytorchvideo.models.{part}")
    return getattr(module, f"create_{part}")(model_num_class=CLASSES, **options)


def monai(name: str, **options: Any) -> nn.Module:
    return getattr(import_module("monai.networks.nets"), name)(spatial_dims=3, **options)


def timm_3d(name: str) -> nn.Module:
    _without_its_operators()
    return import_module("timm_3d").create_model(name, num_classes=CLASSES, pretrained=False)


def stand_in(name: str) -> nn.Module:
    """Of the tests: small networks with the idioms of one that is on no index."""
    tests = {**import_module("tests.foreign").NETWORKS, **import_module("tests.foreign_idioms").IDIOMS}
    return next(make for key, (make, _) in tests.items() if key.partition(",")[0] == name)()


def types_of(*names: str) -> list[type[nn.Module]]:
    return [getattr(import_module("tests.foreign_idioms"), name) for name in names]


def _without_its_operators() -> None:
    """torchvision of the index is built for CUDA; its networks need none of its operators, its import two names."""
    if "torchvision" in sys.modules:
        return
    try:
        import_module("torchvision")
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        _without_its_operators.library = library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_module("torchvision")


LONG = (128, 32, 32)
POOLED = (32, 64, 64)  # networks that stride time as often as space
IN, OUT = {"in_channels": 3, "num_classes": CLASSES}, {"in_channels": 3, "out_channels": CLASSES}
B0 = {"model_name": "efficientnet-b0", "pretrained": False}
HARA = {"n_input_channels": 3, "num_classes": CLASSES}
C2D = {"stem_conv_kernel_size": (1, 7, 7), "stage1_pool": nn.MaxPool3d, "stage_conv_a_kernel_size": ((1, 1, 1),) * 4}
I3D = {
    "stem_conv_kernel_size": (5, 7, 7),
    "stage1_pool": nn.MaxPool3d,
    "stage_conv_a_kernel_size": ((3, 1, 1), [(3, 1, 1), (1, 1, 1)], [(3, 1, 1), (1, 1, 1)], [(1, 1, 1), (3, 1, 1)]),
}
X3D = {"input_crop_size": 96, "depth_factor": 2.2, "head_activation": None}


def head(frames: int, size: int = 2) -> dict[str, Any]:
    """pytorchvideo's pool of the head, for clips of 64 pixels; time is pooled as far as this."""
    return {"head_pool_kernel_size": (frames, size, size)}


def _of(library: str, make: Callable, rows: list[tuple]) -> list[Network]:
    """(name, after, arguments of make, fields of Network) rows; a name may end in a variant."""
    return [
        Network(name, library, partial(make, name.partition(",")[0], **given), after, **more)
        for name, after, given, more in rows
    ]


NETWORKS = [
    *_of(
        "torchvision",
        torchvision,
        [
            ("r3d_18", "layer1", {}, {"compiles": True}),
            ("mc3_18", "layer1", {}, {}),
            ("r2plus1d_18", "layer1", {}, {}),
            ("s3d", "features.2", {}, {"clip": (32, 224, 224)}),
        ],
    ),
    *_of(
        "pytorchvideo",
        pytorchvideo,
        [
            (
                "slow_r50",
                "blocks.1",
                {"part": "resnet", "stem_conv_kernel_size": (1, 7, 7), **head(8)},
                {"clip": (8, 64, 64)},
            ),
            ("c2d_r50", "blocks.1", {"part": "resnet", **C2D, **head(8)}, {}),
            ("i3d_r50", "blocks.1", {"part": "resnet", **I3D, **head(8)}, {}),
            ("r2plus1d_r50", "blocks.1", {"part": "r2plus1d", **head(4)}, {}),
            ("csn_r101", "blocks.1", {"part": "csn", "model_depth": 101, "stem_pool": nn.MaxPool3d, **head(2)}, {}),
            ("x3d_xs", "blocks.1", {"part": "x3d", "input_clip_length": 4, **X3D}, {"clip": (4, 96, 96)}),
            ("x3d_s", "blocks.1", {"part": "x3d", **X3D}, {"clip": (13, 96, 96), "compiles": True}),
        ],
    ),
    *_of(
        "MONAI",
        monai,
        [
            ("DenseNet121", "features.relu0", OUT, {"clip": POOLED, "compiles": True}),
            ("resnet18, shortcut A", "act", {**HARA, "shortcut_type": "A"}, {"clip": POOLED}),
            ("resnet18, shortcut B", "act", {**HARA, "shortcut_type": "B"}, {"clip": POOLED}),
            ("resnet50", "act", HARA, {"clip": POOLED}),
            ("SEResNet50", "layer0.relu1", IN, {"clip": POOLED}),
            ("SEResNext50", "layer0.relu1", IN, {"clip": POOLED}),
            ("EfficientNetBN", "_bn0", {**B0, **IN}, {"clip": LONG}),
        ],
    ),
    *_of(
        "timm_3d",
        timm_3d,
        [
            ("resnet18", "act1", {}, {"clip": POOLED, "compiles": True}),
            ("resnet50d", "act1", {}, {"clip": POOLED}),
            ("seresnet18", "act1", {}, {"clip": POOLED}),
            ("resnext50_32x4d", "act1", {}, {"clip": POOLED}),
            ("densenet121", "features.norm0", {}, {"clip": POOLED}),
            ("mobilenetv2_100", "bn1", {}, {"clip": POOLED}),
            ("mnasnet_100", "bn1", {}, {"clip": POOLED}),
            ("efficientnet_b0", "bn1", {}, {"clip": POOLED}),
            ("efficientnetv2_rw_t", "bn1", {}, {"clip": POOLED}),
            ("convnext_atto", "stem.1", {}, {"clip": LONG}),
            ("convnextv2_atto", "stem.1", {}, {"clip": LONG}),
        ],
    ),
    *_of(
        "stand-in",
        stand_in,
        [
            ("resnet, shortcut A", "stem", {}, {}),
            ("mobilenet", "stem", {}, {}),
            ("mobilenet v2", "stem", {}, {}),
            ("shufflenet", "stem", {}, {}),
            ("squeezenet", "stem", {}, {}),
            ("movinet", "stem", {}, {}),
            ("i3d, same padding", "stem", {}, {"options": {"lengthwise": ("SamePadding", "SamePool")}}),
        ],
    ),
]
REFUSED = [
    *_of("torchvision", torchvision, [("mvit_v2_s", "conv_proj", {}, {"clip": (16, 224, 224)})]),
    *_of("torchvision", torchvision, [("swin3d_t", "patch_embed.proj", {}, {"clip": (16, 64, 64)})]),
]
