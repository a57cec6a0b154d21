"""The command line of tools/demo.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from slowfast_atfr.reproduce.demo.run import run_demo
from slowfast_atfr.utils.arguments import folder_to_write


def main(configs: Path, argv: Sequence[str] | None = None, *, prog: str = "demo.py") -> int:
    """Run the demo; 0, or the exit status of what failed, 2 where the arguments are wrong.

    Args:
        configs: folder of all configs.
        argv: None: that of the process.
        prog: for --help.
    """
    description = "Train and test 3DResNet-18 without and with SGS on videos that it draws itself."
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("folder", nargs="?", type=folder_to_write, default=Path("demo"), metavar="FOLDER",
                        help="receives everything (default: demo); existing results are kept")  # fmt: skip
    parser.add_argument("pairs", nargs="*", metavar="KEY VALUE", help="override the configs of the networks")
    args = parser.parse_args(argv)
    return run_demo(args.folder, configs / "Demo", args.pairs)
