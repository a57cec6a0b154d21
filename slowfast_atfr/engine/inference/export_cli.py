"""The command line of tools/export.py."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.cli import reported
from slowfast_atfr.engine.inference.export import (
    FORMATS,
    TOLERANCE,
    Check,
    TorchFile,
    check_clips,
    check_exportable,
    compare,
    export_program,
    input_shapes,
    save_onnx,
    save_torch,
)
from slowfast_atfr.engine.inference.onnx_file import OnnxFile
from slowfast_atfr.engine.inference.predict_cli import add_network_arguments
from slowfast_atfr.engine.launch.preflight import check_files
from slowfast_atfr.engine.run import build_for_test
from slowfast_atfr.utils.arguments import file_to_write
from slowfast_atfr.utils.class_names import read_class_names
from slowfast_atfr.utils.distributed import RankInfo

ENDINGS = {"onnx": ".onnx", "torch": ".pt2"}
FIXED = ["NUM_GPUS", "0", "MODEL.COMPILE", "False", "TRAIN.ENABLE", "False", "TEST.FOLD_NORMS", "True"]


def main(argv: Sequence[str] | None = None, *, prog: str = "export.py") -> int:
    """Run the command line; 0, or 1 after an error."""
    args = parse_args(argv, prog)
    return reported(lambda: _export(args))


def _export(args: argparse.Namespace) -> int:
    cfg = load_cfg(args.cfg, [*args.pairs, *args.opts, *FIXED, "TEST.CHECKPOINT_FILE_PATH", args.checkpoint])
    check_files(cfg)
    check_exportable(cfg, args.format)
    classes = None if args.classes is None else read_class_names(args.classes, cfg.MODEL.NUM_CLASSES)
    network, _ = build_for_test(cfg, RankInfo(0, 1, 0, 1, torch.device("cpu")))
    save, load = {"onnx": (save_onnx, OnnxFile), "torch": (save_torch, TorchFile)}[args.format]
    save(export_program(network, cfg), args.output, cfg, classes)
    print(f"wrote {args.output}: {os.path.getsize(args.output) / 1e6:.1f} MB, float32, norms folded")
    for pathway, shape in enumerate(input_shapes(cfg)):
        print(f"input of pathway {pathway}: {shape}")
    for check in compare(network, load(args.output), cfg, check_clips(cfg)):
        print(describe(check))
        if check.is_off:
            print(
                f"warning: {check.name} clip: PyTorch has maps {check.expected}, and a difference of at most "
                f"{TOLERANCE:g} is expected: a frame on the border of two groups has changed its group, or scores "
                "are not finite"
            )
    return 0


def parse_args(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write a trained network, with the names of its classes, as a file that runs without this package.",
        epilog="KEY VALUE pairs override the config, such as DATA.TEST_CROP_SIZE 224, the side of the clips.",
    )
    add_network_arguments(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="onnx", help="onnx (default), or a program of torch.export"
    )
    parser.add_argument("--output", type=file_to_write, metavar="FILE",
                        help="the file (default: the config's name and .onnx or .pt2, here)")  # fmt: skip
    parser.add_argument("pairs", nargs="*", metavar="KEY VALUE", help="the same, without --opts")
    args = parser.parse_intermixed_args(argv)
    if args.output is None:
        try:
            args.output = file_to_write(Path(args.cfg).stem + ENDINGS[args.format])
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))
    return args


def describe(check: Check) -> str:
    """Return a line about a check."""
    maps = ", ".join(f"{name} {count}" for name, count in check.active.items())
    return f"{check.name} clip: {f'{maps}; ' if maps else ''}largest difference from PyTorch {check.difference:.1g}"
