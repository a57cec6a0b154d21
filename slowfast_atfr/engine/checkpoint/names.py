"""Translation of foreign weight names to PySlowFast's, which this package uses.

Sources: the names in the Caffe2 files of PySlowFast's model zoo, in torchvision's and timm's ResNets, and in the
release of Fayyaz et al., CVPR 2021.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor

from slowfast_atfr.config import ConfigError

LEAVES = {"w": "weight", "s": "weight", "b": "bias", "rm": "running_mean", "riv": "running_var"}  # riv is the variance
CAFFE2_BLOCK = re.compile(r"res(\d+)_(\d+)_branch(\d)([a-z]?)")
CAFFE2_NONLOCAL = re.compile(r"nonlocal_conv(\d+)_(\d+)(?:_(theta|phi|g|out))?")
BOOKKEEPING = ("momentum", "lr", "model_iter")  # in names of the optimizer's blobs

TORCHVISION = {"conv1.weight", "layer1.0.conv1.weight"}  # present in ResNets of torchvision and timm
TORCHVISION_ENDS = {"conv1": "s1.pathway0_stem.conv", "bn1": "s1.pathway0_stem.bn", "fc": "head.projection"}
TORCHVISION_LAYER = re.compile(r"layer(\d)\.(\d+)\.(conv[123]|bn[123]|downsample\.[01])")
TORCHVISION_BRANCHES = {"downsample.0": "branch1", "downsample.1": "branch1_bn"}

RELEASE_SAMPLER = re.compile(r"(s\d)\.(?:pathway(\d)_)?ts_layer\.(fc\.0|fc\.2|bn)")
RELEASE_LAYERS = {"fc.0": "fc1", "fc.2": "fc2", "bn": "bn"}


def rename(weights: Mapping[str, Tensor], new_name: Callable[[str], str | None]) -> dict[str, Tensor]:
    """Rename weights; those whose new name is None are dropped.

    Raises:
        ConfigError: if two of them get the same name.
    """
    out, old = {}, {}
    for name, value in weights.items():
        new = new_name(name)
        if new in out:
            raise ConfigError(f"the weights {old[new]} and {name} of the checkpoint would both be {new}")
        if new is not None:
            out[new], old[new] = value, name
    return out


def without(name: str, patterns: Sequence[str]) -> str:
    """Remove the first occurrence of each pattern (TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN) from a name."""
    for pattern in patterns:
        name = name.replace(pattern, "", 1)
    return name


def without_ddp(names: Collection[str]) -> Callable[[str], str]:
    """Return a function that removes DistributedDataParallel's prefix, if all names have it."""
    wrapped = all(name.startswith("module.") for name in names)
    return lambda name: name.removeprefix("module.") if wrapped else name


def from_caffe2(blob: str) -> str | None:
    """t_res4_0_branch2a_bn_riv -> s4.pathway1_res0.branch2.a_bn.running_var.

    A blob is [t_] layer [_bn] _ leaf, where t_ is the fast pathway; or t_ layer _subsample [_bn] _ leaf, the lateral
    connection from there. An unknown name does not change; one of the optimizer gives None.
    """
    module, _, leaf = blob.rpartition("_")
    module = _caffe2_module(module)
    if module is not None and leaf in LEAVES:
        return f"{module}.{LEAVES[leaf]}"
    return None if any(word in blob for word in BOOKKEEPING) else blob


def _caffe2_module(name: str) -> str | None:
    pathway = int(name.startswith("t_"))
    layer, lateral, suffix = name.removeprefix("t_").removeprefix("res_").partition("_subsample")
    norm = (suffix if lateral else layer).endswith("_bn")
    layer = layer.removesuffix("_bn")
    block, nonlocal_block = CAFFE2_BLOCK.fullmatch(layer), CAFFE2_NONLOCAL.fullmatch(layer)
    if lateral:
        stage = block[1] if block else 1  # after the stem it starts from pool1
        return f"s{stage}_fuse.{'bn' if norm else 'conv_f2s'}" if block or layer == "pool1" else None
    if block:
        stage, index, branch, letter = block.groups()
        return f"s{stage}.pathway{pathway}_res{index}.branch{branch}{letter and '.' + letter}{'_bn' if norm else ''}"
    if nonlocal_block and norm != bool(nonlocal_block[3]):
        stage, index, convolution = nonlocal_block.groups()
        return f"s{stage}.pathway{pathway}_nonlocal{index}.{'bn' if norm else f'conv_{convolution}'}"
    return {"conv1": f"s1.pathway{pathway}_stem.{'bn' if norm else 'conv'}", "pred": "head.projection"}.get(layer)


def from_torchvision(name: str) -> str:
    """layer1.0.downsample.1.bias -> s2.pathway0_res0.branch1_bn.bias; an unknown name does not change."""
    module, _, leaf = name.rpartition(".")
    layer = TORCHVISION_LAYER.fullmatch(module)
    if layer is None:
        return f"{TORCHVISION_ENDS[module]}.{leaf}" if module in TORCHVISION_ENDS else name
    stage, block, part = int(layer[1]) + 1, layer[2], layer[3]
    letter = "abc"[int(part[-1]) - 1]  # of conv1 .. conv3, bn1 .. bn3
    branch = TORCHVISION_BRANCHES.get(part, f"branch2.{letter}{'_bn' if part.startswith('bn') else ''}")
    return f"s{stage}.pathway0_res{block}.{branch}.{leaf}"


def is_release(names: Collection[str]) -> bool:
    """Return whether the weights have samplers of the paper's release."""
    return any(RELEASE_SAMPLER.match(name) for name in names)


def from_release(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """s2.pathway0_ts_layer.fc.0.weight (s2.ts_layer... with one pathway) -> s2_sgs.pathway0.embed.fc1.weight.

    The embedding is the same, except that its second linear layer has no bias here. The norm after it subtracts the
    mean, so the bias cancels in training, and subtracting it from the running mean is exact in evaluation.
    """
    out = {}
    for name, value in weights.items():
        module, _, leaf = name.rpartition(".")
        layer = RELEASE_SAMPLER.fullmatch(module)
        if layer is None:
            out[name] = value
        elif (layer[3], leaf) != ("fc.2", "bias"):
            if (layer[3], leaf) == ("bn", "running_mean"):
                value = value - weights.get(f"{module.removesuffix('bn')}fc.2.bias", 0)
            out[f"{layer[1]}_sgs.pathway{layer[2] or 0}.embed.{RELEASE_LAYERS[layer[3]]}.{leaf}"] = value
    return out
