"""The command line of tools/reproduce_tables.py: the paper's tables, row by row."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from fvcore.common.config import CfgNode

from slowfast_atfr.analysis import model_summary
from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets import build_dataset
from slowfast_atfr.datasets.build import num_splits
from slowfast_atfr.engine.cli import exit_status
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.reproduce.benchmarks.train import seconds_of_a_clip
from slowfast_atfr.reproduce.runner import read_result, run_once, write_json
from slowfast_atfr.reproduce.runtime_table import runtime_table
from slowfast_atfr.reproduce.table_report import cost_table, draw_accuracy, printed_table, ratio_table, result_table
from slowfast_atfr.reproduce.tables import A1, A2, SCALED_DOWN, TABLES, Row, Table, on_lists
from slowfast_atfr.utils.arguments import existing_folder, folder_to_write
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.logging import setup_logging
from slowfast_atfr.utils.stop import stopped_by_signals

AGAIN = "start it again to continue; finished rows are kept"


@dataclass(frozen=True)
class Plan:
    """A row to run.

    cfgs: of each split of the data set, in order; results go to their OUTPUT_DIR.
    """

    row: Row
    config: Path
    pairs: tuple[str, ...]
    cfgs: tuple[CfgNode, ...]


def main(configs: Path, argv: Sequence[str] | None = None, *, prog: str = "reproduce_tables.py") -> int:
    """Reproduce tables; 0, 1 after an error, 2 where the arguments are wrong."""
    args = _parse(argv, prog)
    return exit_status(lambda: (_print_costs if args.gflops_only else _reproduce)(args.tables, configs, args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Train and test the networks of the paper's tables, and compare the figures with the paper's.",
        epilog="KEY VALUE pairs override the config of every row. Finished rows are not repeated.",
    )
    parser.add_argument("--tables", type=_tables, default=list(TABLES.values()), metavar="A.1,A.2,...",
                        help="separated by commas (default: all)")  # fmt: skip
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name contains it, such as UCF101")
    parser.add_argument(
        "--gflops-only", action="store_true", help="print the cost of a clip for each row; needs no data"
    )
    parser.add_argument(
        "--data",
        type=existing_folder,
        metavar="FOLDER",
        help="train.csv and val.csv of any videos; scales the recipe down",
    )
    parser.add_argument(
        "--out", type=folder_to_write, default=Path("tables"), help="receives everything (default: tables)"
    )
    parser.add_argument("--checkpoint", nargs=2, action="append", default=[], metavar=("ROW", "FILE"),
                        help="test these weights in this row instead of training; may be repeated")  # fmt: skip
    parser.add_argument("--init_method", default="tcp://localhost:9999", help="as of run_net.py")
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="pairs that override the configs")
    parser.add_argument("pairs", nargs="*", metavar="KEY VALUE", help="the same, without --opts")
    args = parser.parse_intermixed_args(argv)
    args.pairs = [*args.pairs, *args.opts]
    args.tables = [_rows_of(table, args.only) for table in args.tables]
    if args.only and not any(table.rows for table in args.tables):
        parser.error(f"--only {args.only!r}: no row of these tables has this in its name")
    if args.gflops_only and args.data:
        parser.error("--gflops-only needs no --data")
    names = [row.name for table in TABLES.values() for row in table.rows]
    for name, file in args.checkpoint:
        if name not in names:
            parser.error(f"--checkpoint {name!r}: choose a row from {', '.join(map(repr, names))}")
        if not os.path.exists(file):
            parser.error(f"--checkpoint {name!r} {file!r}: there is no such file or folder")
    return args


def _tables(text: str) -> list[Table]:
    unknown = [key for key in text.split(",") if key not in TABLES]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no table {unknown[0]!r}; choose from {', '.join(TABLES)}")
    return [TABLES[key] for key in text.split(",")]


def _rows_of(table: Table, text: str) -> Table:
    return replace(table, rows=tuple(row for row in table.rows if text in row.name))


def _print_costs(tables: Sequence[Table], configs: Path, args: argparse.Namespace) -> None:
    texts = []
    for table in (table for table in tables if table.rows or not args.only):
        texts += [printed_table(table)] if table.printed else []
        if table.key == A1.key:
            texts.append(_architecture(configs, args.pairs))
        elif table.key == A2.key:
            texts.append(ratio_table(table))
        else:
            texts.append(cost_table(table, [load_cfg(str(configs / row.config), args.pairs) for row in table.rows]))
    print("\n\n".join(texts))


def _architecture(configs: Path, pairs: Sequence[str]) -> str:
    config = TABLES["A.3"].rows[1].config
    return f"{config}, counted by us\n\n{model_summary(load_cfg(str(configs / config), pairs))}"


def _reproduce(tables: Sequence[Table], configs: Path, args: argparse.Namespace) -> None:
    """Run what is not done, and write tables.md, tables.json and a picture of each table."""
    if args.data:
        args.pairs = [*(word for pair in (SCALED_DOWN | on_lists(args.data)).items() for word in pair), *args.pairs]
    plans = _plans(tables, configs, args)
    if plans:
        first = plans[0].cfgs[0]
        clips = {
            plan.row.name: _clips_left(plan) for plan in plans
        }  # an unreadable list is an error before anything runs
        if first.NUM_SHARDS == 1 and "RANK" not in os.environ and torch.cuda.device_count() >= first.NUM_GPUS:
            with stopped_by_signals(AGAIN):
                _print_estimate(plans, clips)  # other processes would wait
        if not first.NUM_GPUS:
            keep_freed_memory()
        launch(partial(_run_rows, plans), first, args.init_method)
        if first.SHARD_ID or int(os.environ.get("RANK", 0)):
            return  # the first process prints the results
    with stopped_by_signals(AGAIN):
        _write_tables(tables, plans, configs, args)


def _write_tables(tables: Sequence[Table], plans: Sequence[Plan], configs: Path, args: argparse.Namespace) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    texts, data = [], {}
    for table in tables:
        if table.key == A1.key:
            texts += [printed_table(table), _architecture(configs, args.pairs)]
        elif table.key == A2.key:
            texts.append(runtime_table(table, configs, args.pairs))
        elif table.rows:
            chosen = [plan for row in table.rows for plan in plans if plan.row.name == row.name]
            results = [[read_result(cfg) for cfg in plan.cfgs] for plan in chosen]
            text, data[table.key] = result_table(table, [plan.cfgs[0] for plan in chosen], results)
            texts += [text, *([printed_table(table)] if table.printed else [])]
            draw_accuracy(args.out / f"table_{table.key}.png", f"Table {table.key}", data[table.key])
    text = "\n\n".join(texts) + "\n"
    (args.out / "tables.md").write_text(text, encoding="utf-8")
    write_json(str(args.out / "tables.json"), data)
    print(f"{text}\nAlso in {args.out / 'tables.md'}; all figures in tables.json, pictures in table_*.png")


def _plans(tables: Sequence[Table], configs: Path, args: argparse.Namespace) -> list[Plan]:
    """Plan every row once, after the row whose weights it tests."""
    rows = {row.name: (row, table.splits) for table in TABLES.values() for row in table.rows}
    weights = dict(args.checkpoint)
    wanted: dict[str, None] = {}
    for row in (row for table in tables for row in table.rows):
        if row.weights and row.name not in weights:
            wanted[row.weights] = None
        wanted[row.name] = None
    return [_plan(*rows[name], configs, args, weights.get(name, "")) for name in wanted]


def _plan(row: Row, by_splits: bool, configs: Path, args: argparse.Namespace, weights: str) -> Plan:
    config, pairs = configs / row.config, list(args.pairs)
    frames = load_cfg(str(config), pairs).DATA.NUM_FRAMES
    for key, share in (("SGS.NUM_BINS", row.bins), ("SGS.TEST_NUM_BINS", row.test_bins)):
        if share is not None:
            pairs += [key, f"[{max(1, round(frames * share))}]"]
    if weights or row.weights:
        pairs += ["TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", weights or _folder(args.out, row.weights)]
    cfg = load_cfg(str(config), pairs)
    folder = _folder(args.out, row.name)
    last = num_splits(cfg.TEST.DATASET) if by_splits else 1
    folders = [folder] if last == 1 else [os.path.join(folder, f"split{number}") for number in range(1, last + 1)]
    cfgs = [
        load_cfg(str(config), [*pairs, "OUTPUT_DIR", place, *(("DATA.SPLIT", str(number)) if last > 1 else ())])
        for number, place in enumerate(folders, 1)
    ]
    return Plan(row, config, tuple(pairs), tuple(cfgs))


def _folder(out: Path, name: str) -> str:
    return str(out / "".join(letter if letter.isalnum() else "_" for letter in name))


def _clips_left(plan: Plan) -> float:
    """Return the training clips, over all epochs, of the splits that are not done; a test clip counts as a third."""
    clips = 0.0
    for cfg in plan.cfgs:
        if read_result(cfg) is None:
            tested = build_dataset(cfg.TEST.DATASET, cfg, "test")
            clips += len(tested) * tested.num_views / 3
            if cfg.TRAIN.ENABLE:
                clips += len(build_dataset(cfg.TRAIN.DATASET, cfg, "train")) * cfg.SOLVER.MAX_EPOCH
    return clips


def _print_estimate(plans: Sequence[Plan], clips: Mapping[str, float]) -> None:
    """Print an estimate from a training step of each network on this machine, without data loading."""
    total, known = 0.0, {}
    for plan in plans:
        seconds, key, gpus = 0.0, plan.row.config, plan.cfgs[0].NUM_GPUS
        if clips[plan.row.name]:
            if key not in known:
                known[key] = seconds_of_a_clip(plan.config, plan.pairs, torch.device("cuda" if gpus else "cpu"))
            seconds = clips[plan.row.name] * known[key] / max(1, gpus)
        total += seconds
        print(f"{plan.row.name}: {f'about {_time(seconds)}' if seconds else 'done'}", file=sys.stderr)
    print(f"all rows: about {_time(total)}, without data loading", file=sys.stderr)


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _run_rows(plans: Sequence[Plan], cfg: CfgNode, rank: RankInfo) -> None:
    """Run all rows in one process of the run; `cfg` is that of the first row."""
    for number, plan in enumerate(plans, 1):
        for own in plan.cfgs:
            setup_logging(str(Path(own.OUTPUT_DIR).parent), rank.rank)
            run_once(own, rank, f"{plan.row.name} (row {number} of {len(plans)})")
