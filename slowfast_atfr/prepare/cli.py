"""The command line of tools/prepare_data.py."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.video_files import PREPARED
from slowfast_atfr.prepare.prepare import prepare
from slowfast_atfr.prepare.recipes import RECIPES
from slowfast_atfr.prepare.request import Request
from slowfast_atfr.utils.arguments import FileArgumentParser
from slowfast_atfr.utils.errors import RunError

PROG = "prepare_data.py"
SIDE = 256
EXAMPLES = {
    "kinetics400": "prepare_data.py kinetics400 k400 --resize --check --drop-bad",
    "kinetics600": "prepare_data.py kinetics600 k600 --resize --check --drop-bad",
    "kinetics700": "prepare_data.py kinetics700 k700-2020 --resize --check --drop-bad",
    "mini_kinetics": "prepare_data.py mini_kinetics k400 --ids Mini-Kinetics-200 --out mini --resize",
    "ssv2": "prepare_data.py ssv2 something --frames",
    "ucf101": "prepare_data.py ucf101 ucf --resize",
    "hmdb51": "prepare_data.py hmdb51 hmdb --resize",
    "folder": "prepare_data.py folder my_videos --val-share 0.2",
}
WRONG, UNWRITABLE, INTERRUPTED = 2, 1, 130  # exit statuses; 1 also for bad videos in the lists


def main(argv: Sequence[str] | None = None, *, prog: str = PROG) -> int:
    """Prepare a data set.

    Returns:
        0; 1 if the lists have bad videos or a file cannot be written; 2 if an argument, or what it names, is wrong; 130
        after Ctrl-C.
    """
    try:
        return 0 if prepare(parse(argv, prog)) else 1
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNWRITABLE
    except KeyboardInterrupt:
        print("\ninterrupted; finished files are kept: start the same command again to continue", file=sys.stderr)
        return INTERRUPTED


def parse(argv: Sequence[str] | None, prog: str = PROG) -> Request:
    """Parse a command line; argparse ends the program with status 2 where it is wrong."""
    text = argparse.RawDescriptionHelpFormatter
    example_of = {name: example.replace(PROG, prog) for name, example in EXAMPLES.items()}
    examples = "examples:\n" + "\n".join(f"  {example}" for example in example_of.values())
    parser = FileArgumentParser(
        prog=prog,
        description="Make a downloaded data set ready to train on; docs/datasets.md has what to download.",
        epilog=f"{examples}\n\n{prog} NAME --help lists the options of each.",
        formatter_class=text,
    )
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True, help=", ".join(RECIPES))
    for name, recipe in RECIPES.items():
        one = names.add_parser(
            name, description=f"Prepare {recipe.title}.", epilog=f"example:\n  {example_of[name]}", formatter_class=text
        )
        one.add_argument("folder", metavar="FOLDER", help="what was downloaded, unpacked")
        one.add_argument("--out", help=f"receives lists and copies of the videos (default FOLDER/{PREPARED})")
        _add_sources(one, name)
        _add_work(one, frames=name == "ssv2")
    args = vars(parser.parse_args(argv))
    problem = _problem(args)
    if problem:
        names.choices[args["name"]].error(problem)
    args["out"] = args["out"] or os.path.join(args["folder"], PREPARED)
    return Request(**args)


def _add_sources(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options of a single data set."""
    if name == "folder":
        parser.add_argument("--val-share", type=float, default=0.2, help="of each class, for val (default 0.2)")
        parser.add_argument("--seed", type=int, default=0, help="chooses the videos of val (default 0)")
    else:
        parser.add_argument("--annotations", metavar="FOLDER", help="of the official annotations, if not in FOLDER")
    if name == "mini_kinetics":
        part = parser.add_mutually_exclusive_group(required=True)
        part.add_argument("--ids", metavar="FOLDER", help="with train_ytid_list.txt and val_ytid_list.txt")
    elif name.startswith("kinetics"):
        part = parser
    else:
        return
    part.add_argument("--classes", metavar="FILE", help="take these classes only: a name on each line, in label order")


def _add_work(parser: argparse.ArgumentParser, *, frames: bool) -> None:
    """Add the options of all data sets."""
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--resize",
        type=int,
        nargs="?",
        const=SIDE,
        metavar="SIDE",
        help=f"copy all videos as H.264 with this short side, smaller ones with their own (default {SIDE})",
    )
    if frames:
        way.add_argument(
            "--frames", type=int, nargs="?", const=SIDE, metavar="SIDE", help="the same, as folders of JPEG pictures"
        )
    parser.add_argument("--check", action="store_true", help="decode every listed video; bad ones are in OUT/bad.csv")
    parser.add_argument("--quick", action="store_true", help="check the first and the last frame only")
    parser.add_argument("--drop-bad", action="store_true", help="drop the videos that this or the last check found bad")
    cores = os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=cores, help=f"processes (default {cores}, all cores)")


def _problem(args: dict[str, Any]) -> str | None:
    """Return what is wrong with the combination of arguments, None if nothing."""
    for name in ("resize", "frames"):
        side = args.get(name)
        if side is not None and (side < 16 or side % 2):
            return f"--{name} {side}: the short side is an even number of pixels, at least 16"
    if args["workers"] < 1:
        return f"--workers {args['workers']}: at least 1"
    if args["out"] and os.path.realpath(args["out"]) == os.path.realpath(args["folder"]):
        return f"--out {args['out']}: that is the data set's own FOLDER; choose one in it, or elsewhere"
    if args["quick"] and not args["check"]:
        return "--quick needs --check"
    if not 0 < args.get("val_share", 0.5) < 1:
        return f"--val-share {args['val_share']}: between 0 and 1"
    if args.get("seed", 0) < 0:
        return f"--seed {args['seed']}: at least 0"
    return None
