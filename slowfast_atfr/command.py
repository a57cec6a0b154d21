"""The command slowfast-atfr: the scripts of tools/ for an installed package."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from slowfast_atfr import __version__
from slowfast_atfr.utils.stop import hold_sigterm

PROG = "slowfast-atfr"


@dataclass(frozen=True)
class Command:
    """A command: module, function, and a line of help.

    is_run: SIGTERM saves its progress, so SIGTERM is blocked until the command handles it.
    reads_configs: the function's first argument is the folder of configs.
    """

    module: str
    help: str
    function: str = "main"
    is_run: bool = False
    reads_configs: bool = False


COMMANDS = {
    "train": Command("engine.cli", "train the network of a config, then test it (tools/run_net.py)", is_run=True),
    "test": Command("engine.cli", "test the network of a config, without training", "test_only", is_run=True),
    "predict": Command("engine.inference.predict_cli", "classify videos of your own (tools/predict.py)"),
    "export": Command(
        "engine.inference.export_cli", "write a trained network as ONNX or a torch.export program (tools/export.py)"
    ),
    "visualize": Command("engine.inference.visualize_cli", "draw what SGS merges in a video (tools/visualize_sgs.py)"),
    "prepare": Command("prepare.cli", "make a downloaded data set ready to train on (tools/prepare_data.py)"),
    "reproduce": Command(
        "reproduce.reproduce_tables",
        "train and test the networks of the paper's tables (tools/reproduce_tables.py)",
        is_run=True,
        reads_configs=True,
    ),
    "benchmark": Command(
        "reproduce.benchmarks.cli", "measure speed on this machine (tools/benchmark.py)", reads_configs=True
    ),
    "demo": Command(
        "reproduce.demo.cli",
        "train and test a small network without and with SGS on synthetic videos (tools/demo.py)",
        is_run=True,
        reads_configs=True,
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status; without one argparse exits with status 2.

    Only the chosen command's modules are imported, so --help is fast.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = _parser().parse_args(words[:1]).command
    command = COMMANDS[chosen]
    if command.is_run:
        hold_sigterm()  # before torch, whose import takes seconds
    run = getattr(import_module(f"slowfast_atfr.{command.module}"), command.function)
    prog = f"{PROG} {chosen}"
    if not command.reads_configs:
        return run(words[1:], prog=prog)
    from slowfast_atfr.config import configs_folder

    return run(configs_folder(), words[1:], prog=prog)


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {command.help}" for name, command in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog=PROG,
        usage=f"{PROG} COMMAND ...",
        description="Video networks with Similarity Guided Sampling.",
        epilog="\n".join(["commands:", *lines, "", f"{PROG} COMMAND --help shows its options."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROG} {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those below")
    return parser
