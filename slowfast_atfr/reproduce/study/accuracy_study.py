"""Does similarity earn its place? Networks with SGS, without, and with controls: tools/study_accuracy.py."""

import argparse
import gc
import json
import os
import shutil
import sys
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError, load_cfg
from slowfast_atfr.engine.cli import exit_status, train_and_test
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.reproduce.study.control_similarities import register_controls
from slowfast_atfr.reproduce.study.report import study_table
from slowfast_atfr.reproduce.study.timed_clips import register_timed_clips
from slowfast_atfr.reproduce.study.variants import BASE, EPOCHS, FREE, SCRATCH, TUNED, Run, runs_of
from slowfast_atfr.reproduce.table_report import MAPS
from slowfast_atfr.reproduce.tables import on_lists
from slowfast_atfr.utils.arguments import existing_folder, folder_to_write
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.errors import RunError
from slowfast_atfr.utils.logging import last_stats, setup_logging

NETWORK = "Mini_Kinetics/3DRESNET18"
NEEDED = ("top1_acc", "gflops_per_clip", "clips_per_second", "num_videos")  # figures of a result
WHAT = ("data", "lists", "start", "variant", "seed", "pairs", "frames")  # and what it is of
OWN = {
    "OUTPUT_DIR",
    "RNG_SEED",
    "TRAIN.ENABLE",
    "TEST.ENABLE",
    "TRAIN.CHECKPOINT_FILE_PATH",
    "TEST.CHECKPOINT_FILE_PATH",
}


def main(configs: Path, argv: Sequence[str] | None = None) -> int:
    """The command line of tools/study_accuracy.py; 0, 1 after an error, 2 where the arguments are wrong."""
    args = _parse(argv)
    return exit_status(lambda: _study(configs, args))


def _study(configs: Path, args: argparse.Namespace) -> None:
    """Run what is not done yet, if there are videos, and print the table of all that is."""
    register_controls()
    register_timed_clips()
    runs = [run for seed in args.seeds for run in runs_of(seed) if any(text in run.name for text in args.only)]
    if not runs:
        raise ConfigError(
            f"--only {' '.join(args.only)!r}: no run has that in its name, such as {runs_of(0)[1].name!r}"
        )
    own = sorted(key for key in args.pairs[::2] if key in OWN or key.startswith("SGS."))
    if own:
        raise ConfigError(f"{own[0]} is the study's own; leave it out (--seeds and --out choose seeds and places)")
    if args.data:
        data = Path(args.data).resolve()
        args.out.mkdir(parents=True, exist_ok=True)
        first = _config(configs, data, args.out, runs[0], args.pairs)
        if first.NUM_GPUS > 1 or first.NUM_SHARDS > 1 or "RANK" in os.environ:
            raise ConfigError("the study runs in one process, NUM_GPUS 0 or 1; start others with other --seeds")
        if not first.NUM_GPUS:
            keep_freed_memory()
        launch(partial(_run_all, configs, data, args.out, runs, args.pairs), first)
    print(study_table(read_results(args.out / "results.jsonl")))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="study_accuracy.py",
        description="Train 3DResNet-18 without SGS, with it, and with merging that does not look at the frames.",
        epilog="A run that is in OUT/results.jsonl is not done again. Several may share OUT, with seeds of their own. "
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
    parser.add_argument("pairs", nargs="*", metavar="KEY VALUE", help="behind --, pairs that override the recipe")
    return parser.parse_args(argv)


def _config(configs: Path, data: Path, out: Path, run: Run, pairs: Sequence[str], weights: str = "") -> CfgNode:
    own = {**run.pairs(), **on_lists(str(data)), "OUTPUT_DIR": str(_folder(out, data, run, pairs))}
    if weights:
        own["TEST.CHECKPOINT_FILE_PATH" if run.start == FREE else "TRAIN.CHECKPOINT_FILE_PATH"] = weights
    pairs = list(pairs)
    if run.start == TUNED:
        epochs = dict(zip(pairs[::2], pairs[1::2], strict=False)).get(EPOCHS, own[EPOCHS])
        pairs += [EPOCHS, str(max(1, int(epochs) // 2)) if epochs.isdecimal() else epochs]
    network = f"{NETWORK}_ATFR.yaml" if run.variant.sgs else f"{NETWORK}.yaml"
    return load_cfg(str(configs / network), [*(word for pair in own.items() for word in pair), *pairs])


def _folder(out: Path, data: Path, run: Run, pairs: Sequence[str]) -> Path:
    """Of a run on these lists with these pairs, so that none goes on from the weights of another recipe."""
    return out / f"{data.name}_{_lists(data)}_{_number(' '.join(pairs).encode())}" / run.folder


def _lists(data: Path) -> str:
    """A number that tells lists of videos apart, wherever they lie."""
    return _number(b"".join((data / name).read_bytes() for name in ("train.csv", "val.csv")))


def _number(what: bytes) -> str:
    return f"{zlib.crc32(what):08x}"


def _run_all(
    configs: Path, data: Path, out: Path, runs: Sequence[Run], pairs: Sequence[str], cfg: CfgNode, rank: RankInfo
) -> None:
    """What the process does: each run that is not done, and what a run starts from before it."""
    results = out / "results.jsonl"
    for run in runs:  # other pairs are refused before hours of training
        for needed in (run, Run(SCRATCH, BASE, run.seed)) if run.start in (TUNED, FREE) else (run,):
            _is_done(results, data, needed, pairs)
    for number, run in enumerate(runs, 1):
        told = f"{data.name}; {run.name}"
        if _is_done(results, data, run, pairs):
            print(f"{number} of {len(runs)}: {told} is done", file=sys.stderr)
            continue
        print(f"{number} of {len(runs)}: {told}", file=sys.stderr)
        weights = ""
        if run.start in (TUNED, FREE):
            base = Run(SCRATCH, BASE, run.seed)
            own = _config(configs, data, out, base, pairs)
            weights = os.path.join(own.OUTPUT_DIR, "checkpoints", f"checkpoint_epoch_{own.SOLVER.MAX_EPOCH:05d}.pyth")
            if not os.path.exists(weights):
                if _is_done(results, data, base, pairs):
                    print(f"{base.name} is trained again, since {weights} is gone; its result stays", file=sys.stderr)
                _train_and_tell(own, rank, results, data, base, pairs)
        _train_and_tell(_config(configs, data, out, run, pairs, weights), rank, results, data, run, pairs)


def _train_and_tell(cfg: CfgNode, rank: RankInfo, results: Path, data: Path, run: Run, pairs: Sequence[str]) -> None:
    setup_logging(cfg.OUTPUT_DIR, rank.rank)
    stats = train_and_test(cfg, rank)
    figures = {key: float(stats[key]) for key in (*NEEDED, MAPS) if key in stats}
    if cfg.TRAIN.ENABLE:
        trained = last_stats(Path(cfg.OUTPUT_DIR) / "stdout.log", "train_epoch")
        figures |= {"train_top1_acc": 100 - trained["top1_err"]}
    if not _is_done(results, data, run, pairs):
        line = {
            "data": data.name,
            "lists": _lists(data),
            "start": run.start,
            "variant": run.variant.name,
            "seed": run.seed,
            **figures,
        }
        line |= {"frames": cfg.DATA.NUM_FRAMES, "pairs": list(pairs)}
        try:
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")  # short, so that others may append meanwhile
        except OSError as error:
            raise RunError(f"cannot write {results}: {error.strerror}; the checkpoints are as they were") from None
    if run != Run(SCRATCH, BASE, run.seed):  # from which others start
        shutil.rmtree(os.path.join(cfg.OUTPUT_DIR, "checkpoints"), ignore_errors=run.start == FREE)  # it writes none
    gc.collect()


def _is_done(results: Path, data: Path, run: Run, pairs: Sequence[str]) -> bool:
    """Whether the results have the run. Raises ConfigError if they have it with other pairs."""
    key = (_lists(data), run.start, run.variant.name, run.seed)
    for line in read_results(results):
        if (line["lists"], line["start"], line["variant"], line["seed"]) == key:
            if line["pairs"] != list(pairs):
                before = " ".join(line["pairs"]) or "no pairs"
                raise ConfigError(f"{results} has {run.name!r} with {before}; give the same ones, or another --out")
            return True
    return False


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of results; none if it is not there. Raises ConfigError."""
    if not path.exists():
        return []
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            lines.append({key: line[key] for key in (*WHAT, *NEEDED)} | line)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}, line {number} is not a result: {error}; remove the line to run it again"
            ) from None
    return lines
