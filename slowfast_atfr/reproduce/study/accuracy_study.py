"""The command line of tools/study_accuracy.py: compare networks with SGS, without, and with controls."""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from slowfast_atfr.config import ConfigError
from slowfast_atfr.engine.cli import exit_status
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.reproduce.study.control_similarities import register_controls
from slowfast_atfr.reproduce.study.curves import draw_curves
from slowfast_atfr.reproduce.study.report import study_table
from slowfast_atfr.reproduce.study.study_runs import Study, read_results
from slowfast_atfr.reproduce.study.timed_clips import register_timed_clips
from slowfast_atfr.reproduce.study.variants import runs_of
from slowfast_atfr.utils.arguments import existing_folder, file_to_write, folder_to_write
from slowfast_atfr.utils.env import keep_freed_memory

SET_BY_STUDY = {"OUTPUT_DIR", "RNG_SEED", "TRAIN.ENABLE", "TEST.ENABLE"}
SET_BY_STUDY |= {"TRAIN.CHECKPOINT_FILE_PATH", "TEST.CHECKPOINT_FILE_PATH"}


def main(configs: Path, argv: Sequence[str] | None = None) -> int:
    """Run the study; 0, 1 after an error, 2 where the arguments are wrong."""
    args = _parse(argv)
    return exit_status(lambda: _study(configs, args))


def _study(configs: Path, args: argparse.Namespace) -> None:
    """Run what is not done yet, if there are videos, and print the table of all results."""
    register_controls()
    register_timed_clips()
    runs = [run for seed in args.seeds for run in runs_of(seed) if any(text in run.name for text in args.only)]
    if not runs:
        example = runs_of(0)[1].name
        raise ConfigError(f"--only {' '.join(args.only)!r}: no run has that in its name, such as {example!r}")
    own = sorted(key for key in args.pairs[::2] if key in SET_BY_STUDY or key.startswith("SGS."))
    if own:
        raise ConfigError(f"{own[0]} is set by the study; leave it out (--seeds and --out choose seeds and places)")
    if args.data:
        args.out.mkdir(parents=True, exist_ok=True)
        study = Study(configs, Path(args.data).resolve(), args.out, tuple(args.pairs))
        first = study.config(runs[0])
        if first.NUM_GPUS > 1 or first.NUM_SHARDS > 1 or "RANK" in os.environ:
            raise ConfigError("the study runs in one process, NUM_GPUS 0 or 1; start others with other --seeds")
        if not first.NUM_GPUS:
            keep_freed_memory()
        launch(partial(study.run_all, runs), first)
    results = read_results(args.out / "results.jsonl")
    print(study_table(results))
    if args.picture:
        draw_curves(args.picture, results)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="study_accuracy.py",
        description="Train 3DResNet-18 without SGS, with it, and with merging that ignores the content of frames.",
        epilog="Runs in OUT/results.jsonl are not repeated. Several processes may share OUT, with different seeds. "
        "KEY VALUE pairs override the recipe of every run.",
    )
    parser.add_argument(
        "--data",
        type=existing_folder,
        metavar="FOLDER",
        help="train.csv and val.csv of any videos; without it only the table",
    )
    parser.add_argument(
        "--out", type=folder_to_write, default=Path("study"), help="receives everything (default: study)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="(default: 0 1 2)")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="runs whose name has it, such as 'fine-tuned; path'"
    )
    parser.add_argument("--picture", type=file_to_write, metavar="PNG", help="draw accuracy over cost")
    parser.add_argument("pairs", nargs="*", metavar="KEY VALUE", help="after --, pairs that override the recipe")
    return parser.parse_args(argv)
