"""Compare the speed of inference with plain eager code, and with SGS and without."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowfast_atfr.analysis.timing import Figure, in_turn, ratio
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models import build_model, fold_norms
from slowfast_atfr.models.stem import StemConv3d
from slowfast_atfr.models.transforms import Swish
from slowfast_atfr.packed import pack, pad_lengths, to_dense
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins
from slowfast_atfr.reproduce.benchmarks.models import BATCH, LOCAL_NORMS, pair_of, random_inputs
from slowfast_atfr.reproduce.benchmarks.subprocess_call import in_own_process

MIXED = (3, 10, 7, 5, 8, 4, 9, 6)  # frames of clips of X3D-S, of 13


@dataclass(frozen=True)
class Dense:
    """A network without SGS, and its target speed over plain eager code."""

    name: str
    config: str
    batch: int
    target: float


@dataclass(frozen=True)
class Sampled:
    """A network with SGS, the mean number of maps that it keeps, and its target speed over the one without."""

    name: str
    config: str
    batch: int
    maps: float
    target: float | None


DENSE = (
    Dense("X3D-S", "Kinetics/X3D_S.yaml", 8, 3),
    Dense("SlowFast-8x8-R50", "Kinetics/SLOWFAST_8x8_R50.yaml", 2, 1.6),
)
SAMPLED = (
    Sampled("X3D-S", "Mini_Kinetics/X3D_S.yaml", 8, 5.7, 1.5),
    Sampled("SlowFast-8x8-R50, 64 frames", "SSv2/SLOWFAST_8x8_R50.yaml", BATCH, 32, 1.55),
    Sampled("3DResNet-18", "Mini_Kinetics/3DRESNET18.yaml", 4, 16, 1.55),
    Sampled("X3D-S, a single clip", "Mini_Kinetics/X3D_S.yaml", 1, 5.7, None),
    Sampled("SlowFast-8x8-R50, 64 frames, a single clip", "SSv2/SLOWFAST_8x8_R50.yaml", 1, 32, None),
    Sampled("3DResNet-18, a single clip", "Mini_Kinetics/3DRESNET18.yaml", 1, 16, None),
)


class PythonSwish(nn.Module):
    """x * sigmoid(x) by an autograd function in Python, as before torch had SiLU."""

    def forward(self, x: Tensor) -> Tensor:
        return _PythonSwish.apply(x)


class _PythonSwish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        return grad * (gate + x * gate * (1 - gate))


def benchmark_inference(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """Measure ratios of speed; float32, random clips and weights."""
    figures: list[Figure] = []
    with torch.inference_mode():
        for dense in DENSE:
            figures += over_plain(dense, configs, rounds=rounds, device=device)
        for sampled in SAMPLED:
            figures.append(over_base(sampled, configs, rounds=rounds, device=device))
        figures.append(packed_over_padded(configs, rounds=rounds, device=device))
    return figures


def fast_network(config: Path, device: torch.device, *pairs: str) -> nn.Module:
    """Build a network as a test with TEST.FOLD_NORMS runs it."""
    return fold_norms(build_model(load_cfg(str(config), [*LOCAL_NORMS, *pairs])).to(device).eval())


def plain_network(config: Path, device: torch.device, *pairs: str) -> Callable[[list[Tensor]], Tensor]:
    """Build a network with contiguous tensors, norms not folded, Swish in Python, frame-wise stem, nothing in place."""
    model = build_model(load_cfg(str(config), [*LOCAL_NORMS, "RESNET.INPLACE_RELU", "False", *pairs])).to(device).eval()
    for module in list(model.modules()):
        if isinstance(module, StemConv3d):
            module.leaves_lanes = False
        for name, layer in module.named_children():
            if isinstance(layer, Swish):
                setattr(module, name, PythonSwish())
    return nn.Sequential(*model.to(memory_format=torch.contiguous_format).children())  # forward would reorder the clips


def over_plain(
    dense: Dense, configs: Path, *, rounds: int, device: torch.device, pairs: tuple[str, ...] = ()
) -> list[Figure]:
    """Compare the fast network with the plain one; on a CPU the plain one has default memory settings, and ours."""
    config = configs / dense.config
    cfg = load_cfg(str(config), [*LOCAL_NORMS, *pairs])
    fast, unfolded = fast_network(config, device, *pairs), build_model(cfg).to(device).eval()
    inputs = random_inputs(cfg, device, dense.batch)
    plain_of = config, dense.batch, device, pairs
    here = _plain_task(*plain_of)
    on_cpu = device.type == "cpu"  # the settings concern CPU memory
    with in_own_process(_plain_task, *plain_of) if on_cpu else nullcontext(here) as plain:
        slow = {"plain": plain} | ({"plain, memory kept": here} if on_cpu else {})
        slow["norms not folded"] = partial(unfolded, inputs)
        seconds = in_turn(slow | {"fast": partial(fast, inputs)}, rounds=rounds, device=device, title=dense.name)
    figures = []
    for name in slow:
        title, target = f"{dense.name}, fast over {name}", dense.target if name == "plain" else None
        figures.append(speed(title, seconds[name], seconds["fast"], target=target, note=f"{dense.batch} clips"))
    return figures


def _plain_task(config: Path, batch: int, device: torch.device, pairs: tuple[str, ...]) -> Callable[[], None]:
    """Return a function that runs the plain network and waits for the device."""
    network = plain_network(config, device, *pairs)
    inputs = random_inputs(load_cfg(str(config), [*LOCAL_NORMS, *pairs]), device, batch)

    def run() -> None:
        with torch.inference_mode():
            network(inputs)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def over_base(
    sampled: Sampled, configs: Path, *, rounds: int, device: torch.device, pairs: tuple[str, ...] = ()
) -> Figure:
    """Compare the fast network with SGS, its number of maps fixed, with the fast one without."""
    path, with_sgs = pair_of(configs / sampled.config)
    cfg = load_cfg(str(path), [*LOCAL_NORMS, *pairs])
    base, atfr = fast_network(path, device, *pairs), fast_network(with_sgs, device, *pairs)
    force_bins(atfr, sampled.maps / cfg.DATA.NUM_FRAMES)
    inputs = random_inputs(cfg, device, sampled.batch)
    tasks = {"base": partial(base, inputs), "ATFR": partial(atfr, inputs)}
    seconds = in_turn(tasks, rounds=rounds, device=device, title=sampled.name)
    clips = f"{sampled.batch} clip{'s' * (sampled.batch > 1)}"
    note = f"{clips}, {sampled.maps:g} of {cfg.DATA.NUM_FRAMES} maps"
    return speed(f"{sampled.name}, ATFR over base", seconds["base"], seconds["ATFR"], target=sampled.target, note=note)


def packed_over_padded(configs: Path, *, rounds: int, device: torch.device, pairs: tuple[str, ...] = ()) -> Figure:
    """Compare packed clips of mixed lengths with clips padded to the longest, in the stages of X3D-S after SGS."""
    config = configs / DENSE[0].config
    model = fast_network(config, device, *pairs)
    clips = random_inputs(load_cfg(str(config), [*LOCAL_NORMS, *pairs]), device, len(MIXED))
    maps = model.s2(model.s1(clips))[0].movedim(1, -1).contiguous().movedim(-1, 1)
    packed = pack([clip[:, :length] for clip, length in zip(maps, MIXED, strict=True)])
    padded = to_dense(pad_lengths(packed, [max(MIXED)] * len(MIXED), where="end"))
    after_sgs = nn.Sequential(*list(model.children())[2:])
    tasks = {"packed": lambda: after_sgs([packed]), "padded": lambda: after_sgs([padded])}
    seconds = in_turn(tasks, rounds=rounds, device=device, title="packed")
    name, note = "X3D-S, after SGS: packed over padded to the longest", f"{MIXED} of 13 maps"
    return speed(name, seconds["padded"], seconds["packed"], target=1.5, note=note)


def speed(name: str, slow: Any, fast: Any, *, note: str, target: float | None = None) -> Figure:
    """Return slow / fast, round by round, with a lower limit."""
    return ratio(name, slow, fast, target=target, note=note, least=True)
