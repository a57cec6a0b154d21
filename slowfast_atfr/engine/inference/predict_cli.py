"""The command line of tools/predict.py."""

import argparse
import csv
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets.own_videos import find_videos
from slowfast_atfr.engine.cli import CFG_HELP, reported
from slowfast_atfr.engine.inference.onnx_file import OnnxFile
from slowfast_atfr.engine.inference.predict import Prediction, Predictor
from slowfast_atfr.engine.inference.predict_onnx import OnnxPredictor
from slowfast_atfr.engine.launch.preflight import check_files
from slowfast_atfr.utils.arguments import FileArgumentParser, file_to_write
from slowfast_atfr.utils.class_names import read_class_names
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.files import write_whole
from slowfast_atfr.utils.logging import say

FORMATS = ("table", "csv", "json")


def main(argv: Sequence[str] | None = None, *, prog: str = "predict.py") -> int:
    """Run the command line.

    Returns:
        0; 1 if a video could not be read, with predictions of the others; 2 if nothing could be predicted.
    """
    args = parse_args(argv, prog)
    return reported(lambda: _predict(args), failed=2)


def _predict(args: argparse.Namespace) -> int:
    file = OnnxFile(args.onnx) if args.onnx else None
    cfg = load_cfg(args.cfg, pairs_of_args(args)) if file is None else file.cfg(args.opts)
    check_files(cfg)
    stored = None if file is None or args.classes else file.classes
    names, videos = stored or read_class_names(args.classes, cfg.MODEL.NUM_CLASSES), find_videos(args.videos)
    if file is None and not cfg.NUM_GPUS:
        keep_freed_memory()
    predictor = Predictor(cfg) if file is None else OnnxPredictor(file, cfg)
    predictions, start = [], time.perf_counter()
    with tqdm(total=len(videos), unit="video", leave=False, disable=len(videos) < 2) as bar:
        for prediction in predictor(videos, args.stride):
            bar.update(prediction.path != (predictions[-1].path if predictions else None))
            if prediction.error:
                tqdm.write(f"error: {prediction.path}: {prediction.error}", file=sys.stderr)
            predictions.append(prediction)
    print(times(predictions, time.perf_counter() - start), file=sys.stderr)
    text = FORMATTERS[args.format]([as_row(p, names, args.top) for p in predictions])
    if args.output:
        write_whole(str(args.output), text)
    else:
        say(text, end="")
    return int(any(prediction.error for prediction in predictions))


def parse_args(argv: Sequence[str] | None, prog: str = "predict.py") -> argparse.Namespace:
    parser = FileArgumentParser(prog=prog, description="Classify your own videos with a trained network.")
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video files, or folders of them")
    add_network_arguments(parser, required=False)
    parser.add_argument("--onnx", metavar="FILE", help="a file of export.py, instead of --cfg and --checkpoint")
    parser.add_argument("--stride", type=_positive, metavar="SECONDS",
                        help="predict every SECONDS seconds, for windows of a clip's duration")  # fmt: skip
    parser.add_argument("--top", type=int, default=5, metavar="K", help="number of classes in the output (default 5)")
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--output", type=file_to_write, metavar="FILE", help="file for the output (default: print it)")
    args = parser.parse_args(argv)
    if args.top < 1:
        parser.error("--top is at least 1")
    if args.onnx and (args.cfg or args.checkpoint):
        parser.error("--onnx goes without --cfg and --checkpoint: the file has its config and its weights")
    if not args.onnx and not (args.cfg and args.checkpoint):
        parser.error("the following arguments are required: --cfg and --checkpoint, or --onnx")
    return args


def add_network_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--cfg, --checkpoint, --classes and --opts."""
    parser.add_argument("--cfg", required=required, metavar="FILE", help=CFG_HELP)
    checkpoint = "its weights, or the OUTPUT_DIR of a run"
    parser.add_argument("--checkpoint", required=required, metavar="FILE", help=checkpoint)
    parser.add_argument("--classes", type=Path, metavar="FILE",
                        help="names of the classes: a line for each, or JSON, a list or {name: number}")  # fmt: skip
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="pairs that override the config")


def pairs_of_args(args: argparse.Namespace) -> list[str]:
    """Return the config's pairs: one process, on a GPU if there is one, and --opts."""
    gpus = "1" if torch.cuda.is_available() else "0"
    return ["NUM_GPUS", gpus, *args.opts, "TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", args.checkpoint]


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def as_row(prediction: Prediction, names: Sequence[str], top: int) -> dict[str, Any]:
    """Return a prediction as plain data: video, seconds, classes with probabilities in percent, cost; or the error.

    seconds_per_clip is the network's time.
    """
    if prediction.error:
        return {"video": prediction.path, "error": prediction.error}
    best = prediction.scores.argsort()[::-1][:top]
    classes = [{"class": names[index], "percent": round(100 * float(prediction.scores[index]), 2)} for index in best]
    span = {"start": round(prediction.start, 3), "end": round(prediction.end, 3), "clips": prediction.num_clips}
    cost = {name: round(value, 4) for name, value in prediction.cost.items()}
    if "gflops_per_clip" in cost:  # ONNX files have none
        cost = {"gflops_per_clip": cost.pop("gflops_per_clip"), **cost}
    spent = {"decoding_seconds_per_clip": prediction.decoding, "seconds_per_clip": prediction.seconds}
    return {"video": prediction.path, **span, "top": classes, **cost, **{key: round(s, 4) for key, s in spent.items()}}


def times(predictions: Sequence[Prediction], seconds: float) -> str:
    """Return a line with total, network and decoding seconds; decoding may run in parallel."""
    clips = sum(prediction.num_clips for prediction in predictions)
    decoding, network = (
        sum(getattr(prediction, part) * prediction.num_clips for prediction in predictions)
        for part in ("decoding", "seconds")
    )
    videos = len({prediction.path for prediction in predictions})
    parallel = " in parallel" if network + decoding > seconds else ""
    parts = f"network {network:.2f} s, decoding {decoding:.2f} s{parallel}"
    return f"{videos} video(s), {clips} clip(s) in {seconds:.2f} s: {parts}"


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    return json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n"


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return a line for each prediction, with columns class1, percent1, class2, ..."""
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in row.items() if key != "top"}
    for number, entry in enumerate(row.get("top", ()), 1):
        flat |= {f"class{number}": entry["class"], f"percent{number}": entry["percent"]}
    return flat


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return aligned columns for a terminal, without unreadable videos, which have error lines."""
    lines = [["video", "seconds", "classes", "GFLOPs", "active bins", "decoding ms", "network ms"]]
    for row in rows:
        if "error" in row:
            continue
        bins = [(key.removeprefix("active_bins_"), value) for key, value in row.items() if key.startswith("active_")]
        lines.append(
            [
                row["video"],
                f"{row['start']:.1f} to {row['end']:.1f}",
                ", ".join(f"{entry['class']} {entry['percent']:.1f}%" for entry in row["top"]),
                f"{row['gflops_per_clip']:.4g}" if "gflops_per_clip" in row else "-",
                ", ".join(f"{name} {value:.1f}" for name, value in bins) or "-",
                f"{row['decoding_seconds_per_clip'] * 1e3:.1f}",
                f"{row['seconds_per_clip'] * 1e3:.1f}",
            ]
        )
    if len(lines) == 1:
        return ""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


FORMATTERS = {"table": as_table, "csv": as_csv, "json": as_json}
