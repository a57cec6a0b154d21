"""The command line of tools/benchmark.py."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from slowfast_atfr.analysis.timing import busy_share, machine, table
from slowfast_atfr.engine.cli import exit_status
from slowfast_atfr.reproduce.benchmarks.data import benchmark_data
from slowfast_atfr.reproduce.benchmarks.export import benchmark_export
from slowfast_atfr.reproduce.benchmarks.gpu import benchmark_all
from slowfast_atfr.reproduce.benchmarks.inference import benchmark_inference
from slowfast_atfr.reproduce.benchmarks.layers import benchmark_packed, benchmark_sgs
from slowfast_atfr.reproduce.benchmarks.models import benchmark_models
from slowfast_atfr.reproduce.benchmarks.train import benchmark_train
from slowfast_atfr.utils.arguments import file_to_write
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.files import write_whole

BENCHMARKS = {
    "inference": benchmark_inference,
    "sgs": benchmark_sgs,
    "packed": benchmark_packed,
    "models": benchmark_models,
    "train": benchmark_train,
    "data": benchmark_data,
    "export": benchmark_export,
}


BUSY = 0.1  # share of the processors that others may use


def _device(text: str) -> torch.device:
    if not re.fullmatch(r"cpu|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: choose cpu, cuda or cuda:N")
    return torch.device(text)


def main(configs: Path, argv: Sequence[str] | None = None, *, prog: str = "benchmark.py") -> int:
    """Run benchmarks.

    Returns:
        0; 1 where the machine is busy or a benchmark fails, 2 where the arguments are wrong.
    """
    parser = argparse.ArgumentParser(prog=prog, description="Ratios of times, all measured in one run.")
    names = [*BENCHMARKS, "all"]
    text = f"{', '.join(BENCHMARKS)}; all: a table for a GPU, the most important rows first"
    parser.add_argument("names", nargs="+", metavar="NAME", choices=names, help=text)
    parser.add_argument("--device", type=_device, default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default 2)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each figure (default 7)")
    parser.add_argument("--minutes", type=float, default=8, help="after which `all` starts nothing new (default 8)")
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="receives the figures of every round")
    parser.add_argument("--busy", action="store_true", help="measure even on a busy machine")
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
            f"error: other processes use {share:.0%} of this machine, so times are unreliable; wait until they are "
            "done, or add --busy",
            file=sys.stderr,
        )
        return 1
    print(f"{machine(args.device)}; medians of {args.rounds} rounds; float32 where no type is named\n")
    return exit_status(lambda: _measure(configs, args, share))


def _measure(configs: Path, args: argparse.Namespace, busy: float | None) -> None:
    """Run the benchmarks, print their tables, write their figures."""
    measured = {}
    for name in args.names:
        if name == "all":  # prints each line of its table as soon as it is measured
            given = {"minutes": args.minutes, "rounds": args.rounds, "device": args.device}
            figures = benchmark_all(configs, **given, emit=partial(print, flush=True))
            print()
        else:
            figures = BENCHMARKS[name](configs, rounds=args.rounds, device=args.device)
            print(f"{table(figures)}\n")
        measured[name] = [asdict(figure) for figure in figures]
        if args.json:  # after each benchmark, in case a later one fails
            document = {"machine": machine(args.device), "busy": busy, "figures": measured}
            try:
                write_whole(args.json.resolve(), json.dumps(document, indent=1) + "\n")
            except OSError as error:
                raise RunError(f"cannot write {args.json}: {error.strerror}; the tables above are complete") from None
