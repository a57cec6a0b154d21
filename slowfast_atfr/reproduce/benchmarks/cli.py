"""The benchmarks of tools/benchmark.py: what SGS and packed clips cost and save, whole networks, training, data."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_atfr.analysis.timing import Figure, busy_share, in_turn, machine, ratio, seconds_of, table
from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.cli import exit_status
from slowfast_atfr.models import build_model
from slowfast_atfr.packed import Clips, PackedClips, pack, pack_dense
from slowfast_atfr.reproduce.benchmarks.data import benchmark_data
from slowfast_atfr.reproduce.benchmarks.export import benchmark_export
from slowfast_atfr.reproduce.benchmarks.gpu import benchmark_all
from slowfast_atfr.reproduce.benchmarks.inference import benchmark_inference
from slowfast_atfr.reproduce.benchmarks.models import benchmark_models, ragged_lengths, random_inputs
from slowfast_atfr.reproduce.benchmarks.train import benchmark_train
from slowfast_atfr.sgs import SGS
from slowfast_atfr.utils.arguments import file_to_write
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole

NETWORKS = {  # name: (config, clips of a batch in evaluation, in training, target of half the frames over all)
    "X3D-S": ("Kinetics/X3D_S.yaml", 8, 4, 0.6),
    "Slow-8x8-R50": ("Kinetics/SLOW_8x8_R50.yaml", 8, 4, 0.6),
    "3DResNet-18": ("Mini_Kinetics/3DRESNET18.yaml", 4, 2, None),
}


def benchmark_sgs(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """The layer over a copy of its input, and its share of a SlowFast-8x8-R50 forward."""
    return [*_layer_over_copy(rounds, device), _share_of_slowfast(configs, rounds, device)]


def _layer_over_copy(rounds: int, device: torch.device) -> list[Figure]:
    x = torch.randn(8, 256, 32, 56, 56, device=device).contiguous(memory_format=torch.channels_last_3d)
    x.requires_grad_()
    layer = SGS(256).to(device)

    def forward() -> PackedClips:
        with torch.inference_mode():
            return layer.eval()(x)

    def step() -> None:
        out = layer.train()(x)
        out.joined.backward(out.joined.detach())
        x.grad = None

    tasks = {"copy": x.detach().clone, "forward": forward, "step": step}
    seconds = in_turn(tasks, rounds=rounds, device=device, title="layer")
    lengths = forward().lengths
    note = f"{'x'.join(map(str, x.shape))}, {sum(lengths) / len(lengths):.1f} of 32 maps active"
    return [
        ratio("SGS layer, forward, over a copy of its input", seconds["forward"], seconds["copy"], target=3, note=note),
        ratio("SGS layer, forward and backward, over the copy", seconds["step"], seconds["copy"], note=note),
    ]


def _share_of_slowfast(configs: Path, rounds: int, device: torch.device) -> Figure:
    cfg = load_cfg(str(configs / "Kinetics/SLOWFAST_8x8_R50_ATFR.yaml"))
    model = build_model(cfg).to(device).eval()
    inputs = random_inputs(cfg, device)
    inside: list[float] = []
    run_layer = model.s2_sgs.forward

    def timed_layer(pathways: list[Clips]) -> list[Clips]:
        out: list[list[Clips]] = []
        inside.append(seconds_of(lambda: out.append(run_layer(pathways)), device))
        return out[0]

    model.s2_sgs.forward = timed_layer
    with torch.inference_mode():
        whole = in_turn({"whole": lambda: model(inputs)}, rounds=rounds, device=device, title="SlowFast")["whole"]
    shares = 100 * np.array(inside[-rounds:]) / whole
    note = f"{len(inputs[0])} clips at {cfg.DATA.TRAIN_CROP_SIZE}; {np.median(whole) * 1e3:.4g} ms in all"
    return Figure("SGS's share of a SlowFast-8x8-R50+ATFR forward", tuple(shares.tolist()), "%", 3, note)


def benchmark_packed(configs: Path, *, rounds: int, device: torch.device) -> list[Figure]:
    """What follows SGS (res3 to the head), packed over dense: clips of full length, and of half of it on average."""
    figures = []
    for name, (config, eval_batch, train_batch, limit) in NETWORKS.items():
        cfg = load_cfg(str(configs / config))
        model = build_model(cfg).to(device)
        for mode, batch in (("eval", eval_batch), ("training step", train_batch)):
            training = mode == "training step"
            run = partial(_step if training else _infer, model)
            dense = _behind_res2(model.eval(), cfg, batch, device)
            model.train(training)
            figures += _packed_over_dense(f"{name}, {mode}", run, dense, rounds, limit)
    return figures


def _packed_over_dense(
    name: str, run: Callable[[Clips], None], dense: Tensor, rounds: int, limit: float | None
) -> list[Figure]:
    batch, _, frames = dense.shape[:3]
    lengths = ragged_lengths(frames, batch)
    inputs = {
        "dense": dense,
        "equal": pack_dense(dense),
        "ragged": pack([clip[:, :length] for clip, length in zip(dense, lengths, strict=True)]),
        "longest": dense[:, :, : max(lengths)].contiguous(memory_format=torch.channels_last_3d),
    }
    tasks = {kind: partial(run, clips) for kind, clips in inputs.items()}
    seconds = in_turn(tasks, rounds=rounds, device=dense.device, title=name)
    half = f"{lengths} of {frames} frames"
    return [
        ratio(f"{name}: packed, all of {frames} frames, over dense", seconds["equal"], seconds["dense"], target=1.05),
        ratio(
            f"{name}: packed, half on average, over dense", seconds["ragged"], seconds["dense"], target=limit, note=half
        ),
        ratio(f"{name}: packed, half on average, over padded to the longest", seconds["ragged"], seconds["longest"]),
    ]


def _behind_res2(model: nn.Module, cfg, batch: int, device: torch.device) -> Tensor:
    """Random clips as they leave res2, channels_last_3d."""
    crop = cfg.DATA.TRAIN_CROP_SIZE
    clips = torch.randn(1, 3, cfg.DATA.NUM_FRAMES, crop, crop, device=device)
    with torch.inference_mode():
        shape = model.s2(model.s1([clips]))[0].shape
    return torch.randn(batch, *shape[1:], device=device).relu().contiguous(memory_format=torch.channels_last_3d)


def _behind_sgs(model: nn.Module, x: Clips) -> Tensor:
    pathways = [x]
    for stage in (model.s3, model.s4, model.s5):
        pathways = stage(pathways)
    return model.head(pathways)


@torch.inference_mode()
def _infer(model: nn.Module, x: Clips) -> None:
    _behind_sgs(model, x)


def _step(model: nn.Module, x: Clips) -> None:
    data = x.joined if isinstance(x, PackedClips) else x
    data.requires_grad_().grad = None  # behind SGS the gradient goes on
    _behind_sgs(model, x).square().mean().backward()
    model.zero_grad(set_to_none=True)


BENCHMARKS = {
    "inference": benchmark_inference,
    "sgs": benchmark_sgs,
    "packed": benchmark_packed,
    "models": benchmark_models,
    "train": benchmark_train,
    "data": benchmark_data,
    "export": benchmark_export,
}


def _device(text: str) -> torch.device:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: choose cpu, cuda or cuda:N")
    return torch.device(text)


BUSY = 0.1  # share of the processors that others may have in use


def main(configs: Path, argv: Sequence[str] | None = None, *, prog: str = "benchmark.py") -> int:
    """The command line of tools/benchmark.py.

    Returns:
        0; 1 where the machine is busy with something else or a benchmark fails, 2 where the arguments are wrong.
    """
    parser = argparse.ArgumentParser(prog=prog, description="Ratios of times, all measured in one run.")
    names = [*BENCHMARKS, "all"]
    text = f"{', '.join(BENCHMARKS)}; all: a table of what matters on a GPU, in the order in which it matters"
    parser.add_argument("names", nargs="+", metavar="NAME", choices=names, help=text)
    parser.add_argument("--device", type=_device, default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default 2)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each figure (default 7)")
    parser.add_argument("--minutes", type=float, default=8, help="of `all`, after which nothing new begins (default 8)")
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="receives the figures of every round")
    parser.add_argument("--busy", action="store_true", help="measure on a busy machine, too")
    args = parser.parse_args(argv)
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads are at least 1")
    if not args.minutes > 0:
        parser.error("--minutes is more than 0")
    if args.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: there is no GPU, or this torch has no CUDA")
    torch.set_num_threads(args.threads)
    if args.device.type == "cpu":
        keep_freed_memory()  # as a run on a CPU does
    torch.manual_seed(0)
    share = busy_share()
    if share is not None and share > BUSY and not args.busy:
        print(
            f"error: other processes use {share:.0%} of this machine, so times would say little; wait until they are "
            "done, or add --busy and distrust the figures",
            file=sys.stderr,
        )
        return 1
    print(f"{machine(args.device)}; medians of {args.rounds} rounds; float32 where no type is named\n")
    return exit_status(lambda: _measure(configs, args, share))


def _measure(configs: Path, args: argparse.Namespace, busy: float | None) -> None:
    """Run the benchmarks that were asked for, print their tables, write their figures."""
    told = {}
    for name in args.names:
        if name == "all":  # which prints each line of its table when it is known
            given = {"minutes": args.minutes, "rounds": args.rounds, "device": args.device}
            figures = benchmark_all(configs, **given, tell=partial(print, flush=True))
            print()
        else:
            figures = BENCHMARKS[name](configs, rounds=args.rounds, device=args.device)
            print(f"{table(figures)}\n")
        told[name] = [asdict(figure) for figure in figures]
        if args.json:  # after each benchmark, so that a later one's failure loses nothing
            document = {"machine": machine(args.device), "busy": busy, "figures": told}
            try:
                write_whole(args.json.resolve(), json.dumps(document, indent=1) + "\n")
            except OSError as error:
                raise RunError(f"cannot write {args.json}: {error.strerror}; the tables above are whole") from None
