"""The command line of tools/visualize_sgs.py."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from slowfast_atfr.analysis.figure_a1 import PICTURES
from slowfast_atfr.analysis.merging_page import merging_page
from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.cli import reported
from slowfast_atfr.engine.inference.predict import Predictor
from slowfast_atfr.engine.inference.predict_cli import add_network_arguments, pairs_of_args
from slowfast_atfr.engine.inference.trace_clip import trace_clip
from slowfast_atfr.engine.launch.preflight import check_files
from slowfast_atfr.utils.arguments import FileArgumentParser, file_to_write
from slowfast_atfr.utils.class_names import read_class_names
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.files import write_whole
from slowfast_atfr.utils.logging import say


def _output_name(text: str) -> Path:
    file_to_write(f"{text}.png")
    return Path(text)


def main(argv: Sequence[str] | None = None, *, prog: str = "visualize_sgs.py") -> int:
    """Run the command line; 0, or 1 after an error."""
    parser = FileArgumentParser(
        prog=prog, description="Show what SGS merges in a clip of a video, as a picture and an HTML page."
    )
    parser.add_argument("video", metavar="VIDEO")
    add_network_arguments(parser)
    parser.add_argument("--start", type=float, metavar="SECONDS", help="of the clip (default: the video's middle)")
    parser.add_argument("--output", type=_output_name, metavar="NAME",
                        help="write NAME.png and NAME.html (default: the video's name, here)")  # fmt: skip
    parser.add_argument("--maps", choices=tuple(PICTURES), default="channels",
                        help="4 channels, as in the paper's Figure A.1, or the mean of all")  # fmt: skip
    args = parser.parse_args(argv)
    if args.start is not None and args.start < 0:
        parser.error("--start is at least 0")
    return reported(lambda: _visualize(args))


def _visualize(args: argparse.Namespace) -> int:
    cfg = load_cfg(args.cfg, pairs_of_args(args))
    check_files(cfg)
    names = read_class_names(args.classes, cfg.MODEL.NUM_CLASSES)
    if not cfg.NUM_GPUS:
        keep_freed_memory()
    clip = trace_clip(Predictor(cfg), args.video, names, args.start)
    output = args.output or Path(Path(args.video).stem)
    page, picture = (output.with_name(f"{output.name}{ending}") for ending in (".html", ".png"))
    write_whole(str(page), merging_page(clip))
    PICTURES[args.maps](picture, clip)
    for layer in clip.layers:
        print(f"{layer.name}: {len(layer.record.bin)} maps in, {layer.record.num_active} out")
    print(f"{clip.gflops:.4g} GFLOPs, {clip.gflops / clip.dense_gflops:.1%} of {clip.dense_gflops:.4g} with all maps")
    say(f"{picture} and {page}")
    return 0
