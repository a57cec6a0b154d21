#!/usr/bin/env python3
"""Print the table of docs/networks.md: check.py [NAME ...]. The page says how to install the libraries."""

import copy
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]  # the stand-ins are those of the tests

from zoo import CLASSES, NETWORKS, REFUSED, Network, types_of  # noqa: E402

from slowfast_atfr.analysis import markdown  # noqa: E402
from slowfast_atfr.analysis.macs import count_macs  # noqa: E402
from slowfast_atfr.analysis.timing import in_turn  # noqa: E402
from slowfast_atfr.reproduce.benchmarks.force_bins import force_bins  # noqa: E402
from slowfast_atfr.sgs import compile_network, count_active, insert_sgs  # noqa: E402

CPU, CLIPS, ROUNDS = torch.device("cpu"), 2, 3
EXACT = {torch.float32: 1e-5, torch.float64: 1e-12}  # how far a batch may be from its clips alone, of the largest value
COLUMNS = ("network", "library", "SGS after", "clips", "batch = alone", "maps", "checks", "MACs", "time")


def main(names: Sequence[str]) -> int:
    """Check the networks whose name or library is among the names, or all."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=0, world_size=1)
        print(markdown.table(COLUMNS, [], "l" * len(COLUMNS)))
        failed = 0
        for network in NETWORKS:
            if not names or {network.name, network.library} & set(names):
                cells = row(network)
                failed += "FAILED" in "".join(cells)
                print(markdown.row(cells), flush=True)
        for network in REFUSED if not names else ():
            end = refusal_of(network)
            failed += "FAILED" in end
            print(f"\n{network.library} {network.name}: {end}")
        for network in NETWORKS:  # last, since it changes how packed clips run
            if network.compiles and (not names or {network.name, network.library} & set(names)):
                clips, _, model = make(network)
                end = "compiles" if held(compiled, model, clips, "compile") else "compile FAILED"
                failed += "FAILED" in end
                print(f"\n{network.library} {network.name}: {end}")
        dist.destroy_process_group()
    return min(failed, 1)


def row(network: Network) -> tuple[str, ...]:
    """All that the table says of a network."""
    frames, size, _ = network.clip
    named = network.name, network.library, f"`{network.after}`", f"{frames} x {size}"
    try:
        clips, base, model = make(network)
        alone, maps = batch_is_alone(model, clips)
        trained = copy.deepcopy(model)
        checks = {"gradients": partial(gradients, base, trained), "bfloat16": bfloat16, "deepcopy": same_copy}
        checks |= {"DDP": partial(ddp, trained)}
        failed = [name for name, check in checks.items() if not held(check, copy.deepcopy(model), clips, name)]
        macs, time = at_half(base, model, clips) if network.library != "stand-in" else ("", "")
    except Exception as error:
        traceback.print_exc()
        return *named, f"FAILED: {type(error).__name__}", "", "", "", ""
    return *named, alone, maps, ", ".join(f"{name} FAILED" for name in failed) or "pass", macs, time


def make(network: Network) -> tuple[Tensor, nn.Module, nn.Module]:
    """Clips that SGS leaves different numbers of maps, the network as its library makes it, and the same with SGS."""
    for part, seed in ((2, 0), (4, 0), (2, 1), (2, 2)):
        torch.manual_seed(seed)
        clips = make_clips(network, part)
        base = settled(network.make(), clips)
        model = settled(with_sgs(copy.deepcopy(base), network), clips)
        if len(set(maps_of(model, clips))) > 1:
            break
    return clips, base, model


def make_clips(network: Network, part: int) -> Tensor:
    """(2, 3, T, H, W) random clips; the first one holds still after 1 / part of its frames."""
    clips = torch.randn(CLIPS, 3, *network.clip)
    still = network.clip[0] // part
    clips[0, :, still:] = clips[0, :, still, None]
    return clips


@torch.no_grad()
def maps_of(model: nn.Module, clips: Tensor) -> tuple[int, ...]:
    with count_active(model) as counter:
        model(clips)
        (active,) = counter.read_and_reset().values()
    return tuple(active.tolist())


def with_sgs(model: nn.Module, network: Network) -> nn.Module:
    options = {key: types_of(*names) for key, names in network.options.items()}
    return insert_sgs(model, network.after, similarity="path", kernel="linear_mean", **options)


def settled(model: nn.Module, clips: Tensor) -> nn.Module:
    """In eval mode, with the statistics of these clips, as after some training; dropout and the like off."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(clips)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model.eval()


@torch.no_grad()
def batch_is_alone(model: nn.Module, clips: Tensor) -> tuple[str, str]:
    """How far a batch is from its clips alone, in float32 or else in float64, and the maps that SGS leaves of each."""
    for dtype, limit in EXACT.items():
        model, clips = model.to(dtype), clips.to(dtype)
        active, together = maps_of(model, clips), model(clips)
        alone = torch.cat([model(clip[None]) for clip in clips])
        error = float((together - alone).abs().max() / alone.abs().max())
        if error <= limit:
            break
    model.float()
    name = str(dtype).removeprefix("torch.")
    mixed = len(set(active)) > 1
    verdict = "" if error <= limit and mixed else "FAILED: "
    return f"{verdict}{error:.0e}, {name}", ", ".join(map(str, active))


def held(check: Callable, model: nn.Module, clips: Tensor, name: str) -> bool:
    try:
        return check(model, clips)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return False


def step(model: nn.Module, clips: Tensor) -> None:
    torch.manual_seed(1)
    out = model.train()(clips)
    nn.functional.cross_entropy(out, torch.arange(len(clips)) % CLASSES).backward()


def gradients(base: nn.Module, trained: nn.Module, _: nn.Module, clips: Tensor) -> bool:
    """Every parameter has a finite one after a step, if it has one without SGS."""
    step(trained, clips)
    lacking = {name for name, parameter in trained.named_parameters() if parameter.grad is None}
    if lacking:
        base = copy.deepcopy(base)
        step(base, clips)
        lacking -= {name for name, parameter in base.named_parameters() if parameter.grad is None}
    return not lacking and all(p.grad is None or p.grad.isfinite().all() for p in trained.parameters())


@torch.no_grad()
def bfloat16(model: nn.Module, clips: Tensor) -> bool:
    model, clips = model.bfloat16(), clips.bfloat16()
    together = model(clips)
    alone = torch.cat([model(clip[None]) for clip in clips])
    return together.dtype == torch.bfloat16 and bool((together - alone).abs().max() < 0.1 * alone.abs().max())


@torch.no_grad()
def same_copy(model: nn.Module, clips: Tensor) -> bool:
    return torch.equal(copy.deepcopy(model)(clips), model(clips))


def ddp(trained: nn.Module, model: nn.Module, clips: Tensor) -> bool:
    """One process with gloo: the gradients are those without DDP."""
    step(DistributedDataParallel(model, find_unused_parameters=True), clips)
    gradients = [(a.grad, b.grad) for a, b in zip(model.parameters(), trained.parameters(), strict=True)]
    return all(b is None if a is None else torch.allclose(a, b, atol=1e-5) for a, b in gradients)


@torch.no_grad()
def compiled(model: nn.Module, clips: Tensor) -> bool:
    expected = model(clips)
    return bool((compile_network(model)(clips) - expected).abs().max() < 1e-4 * expected.abs().max())


@torch.no_grad()
def at_half(base: nn.Module, model: nn.Module, clips: Tensor) -> tuple[str, str]:
    """Multiply-adds and time at half of the maps over those without SGS, medians of rounds in turn."""
    force_bins(model)
    macs = [_macs(which, clips) for which in (model, base)]
    tasks = {"half": partial(model, clips), "base": partial(base, clips)}
    seconds = in_turn(tasks, rounds=ROUNDS, device=CPU)
    ratios = sorted(seconds["half"] / seconds["base"])
    return f"{macs[0] / macs[1]:.2f}", f"{ratios[len(ratios) // 2]:.2f}"


def _macs(model: nn.Module, clips: Tensor) -> float:
    with count_macs(model) as counter:
        model(clips)
        return float(counter.read_and_reset().mean())


def refusal_of(network: Network) -> str:
    """The error of a network that takes no packed clips."""
    try:
        with torch.no_grad():
            model = insert_sgs(network.make().eval(), network.after, **network.options)
            model(torch.randn(2, 3, *network.clip))
    except TypeError as error:  # as refusals of packed clips are
        return f"{type(error).__name__}: {error}"
    return "FAILED: not refused"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
