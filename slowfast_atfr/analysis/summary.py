"""Summarise a network: layer, kernel, output, multiply-adds and parameters, as in the SGS supplement's Table A.1.

It runs on the meta device, which has shapes but no weights.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast_atfr.analysis.mac_counter import MacCounter
from slowfast_atfr.analysis.macs import count_macs, sgs_macs
from slowfast_atfr.config import PATHWAY_NAMES, ConfigError, num_pathways
from slowfast_atfr.models import build_model
from slowfast_atfr.models.nonlocal_block import Nonlocal
from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.models.transforms import SqueezeExcitation
from slowfast_atfr.packed import lengths_of
from slowfast_atfr.sgs import TemporalSampler
from slowfast_atfr.sgs.bins import block_lengths
from slowfast_atfr.sgs.pathways import PathwaySGS

COLUMNS = ("layer", "pathway", "kernel", "output", "GFLOPs", "parameters")


@dataclass(frozen=True)
class Row:
    """A layer of the network, or the part of it in one pathway.

    layer: name of the module, such as s2.
    pathway: slow or fast; "" for a layer of both, or a network with one pathway.
    kernel: its convolutions and pools, T x H x W and output channels, such as 1x1x1, 64; for a non-local block the
        inner channels.
    output: (C, T, H, W) of a clip; () for class scores.
    macs: multiply-adds of one clip.
    params: number of parameters.
    """

    layer: str
    pathway: str
    kernel: str
    output: tuple[int, ...]
    macs: float
    params: int


@dataclass(frozen=True)
class Summary:
    """The layers of a network from input to output; `str()` is a table with the sums below it."""

    rows: tuple[Row, ...]

    @property
    def gflops(self) -> float:
        """Multiply-adds x 1e-9 of one clip."""
        return sum(row.macs for row in self.rows) * 1e-9

    @property
    def params(self) -> int:
        return sum(row.params for row in self.rows)

    def __str__(self) -> str:
        lines = [COLUMNS]
        for row in self.rows:
            output = "x".join(map(str, row.output)) or "scores"
            lines.append((row.layer, row.pathway, row.kernel, output, f"{row.macs * 1e-9:.4f}", f"{row.params:,}"))
        lines.append(("all", "", "", "", f"{self.gflops:.4f}", f"{self.params:,}"))
        used = [index for index, column in enumerate(zip(*lines[1:], strict=True)) if any(column)]
        widths = {index: max(len(line[index]) for line in lines) for index in used}
        numbers = (COLUMNS.index("GFLOPs"), COLUMNS.index("parameters"))
        aligned = (
            "  ".join(line[i].rjust(widths[i]) if i in numbers else line[i].ljust(widths[i]) for i in used).rstrip()
            for line in lines
        )
        return "\n".join(aligned)


def model_summary(cfg: CfgNode, active: Sequence[int] | None = None, *, crop: int | None = None) -> Summary:
    """Summarise the network of a config for one clip.

    Args:
        cfg: a validated config.
        active: active bins of SGS for each pathway (slow, fast), a single entry for all; None: all maps, the highest
            cost. A clip with fewer maps keeps those.
        crop: pixels of the square crop; None is DATA.TRAIN_CROP_SIZE.
    Raises:
        ConfigError: if active has a wrong number of entries, or one below 1.
    """
    pathways, frames, crop = num_pathways(cfg), cfg.DATA.NUM_FRAMES, crop or cfg.DATA.TRAIN_CROP_SIZE
    if active is not None and (len(active) not in (1, pathways) or min(active) < 1):
        raise ConfigError(f"active is {list(active)}; it takes 1 or {pathways} numbers of bins, each at least 1")
    plain = cfg.clone()
    plain.defrost()
    plain.BN.NORM_TYPE = "batchnorm"  # of the same size, without process groups
    plain.MODEL.COMPILE = False  # hooks see each layer
    with torch.device("meta"), torch.inference_mode():
        model = build_model(plain).eval()
        lengths = [frames // cfg.SLOWFAST.ALPHA, frames] if pathways == 2 else [frames]
        limits = [frames] * pathways if active is None else [*active] * (pathways // len(active))
        _replace_sgs(model, limits)
        return Summary(tuple(_rows(model, [torch.empty(1, 3, length, crop, crop) for length in lengths])))


def _replace_sgs(module: nn.Module, limits: Sequence[int]) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, PathwaySGS):
            setattr(module, name, _FirstMaps(child, limits))
        elif isinstance(child, TemporalSampler):
            setattr(module, name, _First(child, limits[0]))
        else:
            _replace_sgs(child, limits)


class _FirstMaps(nn.Module):
    """Replaces SGS: each sampled pathway keeps its first maps, as many as active bins are asked for."""

    def __init__(self, layer: PathwaySGS, limits: Sequence[int]) -> None:
        super().__init__()
        self.sampled = layer.sampled
        for pathway in layer.sampled:
            self.add_module(f"pathway{pathway}", _First(getattr(layer, f"pathway{pathway}"), limits[pathway]))

    def forward(self, pathways: list[Tensor]) -> list[Tensor]:
        return [getattr(self, f"pathway{p}")(x) if p in self.sampled else x for p, x in enumerate(pathways)]


class _First(nn.Module):
    def __init__(self, sampler: TemporalSampler, limit: int) -> None:
        super().__init__()
        self.sampler, self.limit = sampler, limit

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : self.limit]


def _count_sampler(counter: MacCounter, first: _First, inputs: tuple[Tensor], _: Tensor) -> None:
    blocks = block_lengths(lengths_of(inputs[0]), first.sampler.block_size)
    counter.add(1, sgs_macs(first.sampler, blocks))


def _rows(model: nn.Module, inputs: list[Tensor]) -> Iterator[Row]:
    """Yield a row for each child of the network, or each pathway of a child, from one forward; last, one for the rest.

    A child that this forward does not call, such as a head for training only, has parameters and no cost.
    """
    groups = [(name, *group) for name, layer in model.named_children() for group in _by_pathway(layer)]
    macs: dict[nn.Module, float] = {}
    outputs: dict[nn.Module, tuple[int, ...]] = {}
    with count_macs(model) as counter:
        for layer in model.modules():
            if isinstance(layer, _First):
                layer.register_forward_hook(partial(_count_sampler, counter))
        for _, _, parts in groups:
            for part in parts:
                _watch(part, counter, macs, outputs)
        model(inputs)
        in_all = counter.read_and_reset().item()
    rest = in_all - sum(macs.values())
    own = sum(parameter.numel() for parameter in model.parameters(recurse=False))
    for name, pathway, parts in groups:
        yield Row(
            layer=name,
            pathway=PATHWAY_NAMES[pathway] if pathway is not None and len(inputs) > 1 else "",
            kernel=_kernels(parts),
            output=outputs.get(parts[-1], ()),
            macs=sum(macs.get(part, 0) for part in parts),
            params=sum(parameter.numel() for part in parts for parameter in part.parameters()),
        )
    if own or rest > 1e-6 * in_all:  # more than rounding
        yield Row(layer=type(model).__name__, pathway="", kernel="", output=(), macs=rest, params=own)


def _by_pathway(layer: nn.Module) -> Iterator[tuple[int | None, list[nn.Module]]]:
    """Yield the modules of each pathway by their names; without such names the whole layer, with None."""
    named = [(re.match(r"pathway(\d+)", name), child) for name, child in layer.named_children()]
    if not named or not all(match for match, _ in named):
        yield None, [layer]
        return
    for pathway, group in itertools.groupby(named, key=lambda entry: int(entry[0][1])):
        yield pathway, [child for _, child in group]


def _watch(
    part: nn.Module, counter: MacCounter, macs: dict[nn.Module, float], outputs: dict[nn.Module, tuple[int, ...]]
) -> None:
    """Note the cost of the calls of a module, and (C, T, H, W) of its output; of slow, if there are two pathways."""

    def before(_: nn.Module, args: tuple) -> None:
        macs[part] = macs.get(part, 0) - counter.so_far().item()

    def after(_: nn.Module, args: tuple, out: Any) -> None:
        macs[part] += counter.so_far().item()
        first = out[0] if isinstance(out, list | tuple) else out
        outputs[part] = tuple(first.shape[1:]) if isinstance(first, Tensor) and first.ndim == 5 else ()

    part.register_forward_pre_hook(before)
    part.register_forward_hook(after)


def _kernels(parts: list[nn.Module]) -> str:
    """Format parts as [1x1x1, 64; 1x3x3, 64; 1x1x1, 256] x 3; a repeated sequence of parts is written once."""
    texts = list(map(_kernel, parts))
    cycle = next(size for size in range(1, len(texts) + 1) if texts == texts[:size] * (len(texts) // size))
    runs = [(text, len(list(same))) for text, same in itertools.groupby(texts[:cycle])]
    return _times("; ".join(_times(*run) for run in runs), len(texts) // cycle)


def _times(text: str, count: int) -> str:
    return f"[{text}] x {count}" if count > 1 else text


def _kernel(part: nn.Module) -> str:
    if isinstance(part, _First):
        return f"SGS: {_kernel(part.sampler)}"
    if isinstance(part, Nonlocal):
        return f"non-local, {part.conv_theta.out_channels}"
    texts = []
    for layer in _own_layers(part):
        if isinstance(layer, nn.Conv3d):
            texts.append(f"{'x'.join(map(str, layer.kernel_size))}, {layer.out_channels}")
        elif isinstance(layer, nn.MaxPool3d):
            size = layer.kernel_size
            texts.append(f"max {'x'.join(map(str, size if isinstance(size, tuple) else (size,) * 3))}")
        elif isinstance(layer, nn.Linear):
            texts.append(f"linear, {layer.out_features}")
    return "; ".join(texts)


def _own_layers(part: nn.Module) -> Iterator[nn.Module]:
    """Yield all modules but shortcuts and the gates of squeeze-and-excitation."""
    yield part
    for name, child in part.named_children():
        if not isinstance(child, SqueezeExcitation) and not (isinstance(part, ResBlock) and name == "branch1"):
            yield from _own_layers(child)
