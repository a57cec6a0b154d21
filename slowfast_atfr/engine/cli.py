"""The command lines for training and tests: --cfg FILE, shards, KEY VALUE pairs with or without --opts."""

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from fvcore.common.config import CfgNode

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.launch.processes import USER_ERRORS, Main, launch
from slowfast_atfr.engine.launch.stops import record_stop
from slowfast_atfr.engine.test import test
from slowfast_atfr.engine.train import train
from slowfast_atfr.utils.distributed import RankInfo, is_initialized
from slowfast_atfr.utils.env import keep_freed_memory
from slowfast_atfr.utils.lock import OutputLock
from slowfast_atfr.utils.stop import EXIT_STATUS, Stopped

logger = logging.getLogger(__name__)
CFG_HELP = "YAML config, or the name of one that comes with the package, such as SSv2/SLOWFAST_8x8_R50_ATFR"
INTERRUPTED = 128 + signal.SIGINT  # the status that shells report after Ctrl-C


def parse_args(argv: Sequence[str] | None, *, prog: str, description: str) -> tuple[argparse.Namespace, list[str]]:
    """Return the arguments and the config's KEY VALUE pairs; later ones win: --opts, then the shards."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog="KEY VALUE pairs override the config, such as NUM_GPUS 0 OUTPUT_DIR out",
    )
    parser.add_argument("--cfg", dest="cfg_file", required=True, metavar="FILE", help=CFG_HELP)
    parser.add_argument("--print-cfg", action="store_true", help="print the whole config as YAML, and do nothing else")
    parser.add_argument("--num_shards", type=int, help="machines of the job (NUM_SHARDS)")
    parser.add_argument("--shard_id", type=int, help="index of this machine, from 0 (SHARD_ID)")
    parser.add_argument(
        "--init_method", default="tcp://localhost:9999", help="where the machines meet, tcp://HOST:PORT of machine 0"
    )
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="pairs that override the config")
    parser.add_argument("pairs", nargs="*", metavar="KEY VALUE", help="the same, without --opts")
    args = parser.parse_intermixed_args(argv)
    pairs = [*args.pairs, *args.opts]
    for key, value in (("NUM_SHARDS", args.num_shards), ("SHARD_ID", args.shard_id)):
        if value is not None:
            pairs += [key, str(value)]
    return args, pairs


def train_and_test(cfg: CfgNode, rank: RankInfo) -> dict[str, Any] | None:
    """Train with TRAIN.ENABLE, then test with TEST.ENABLE, in one process of a run; return the test's figures, if any.

    Raises:
        RunError: if another run uses OUTPUT_DIR, or at the second interruption in a row without progress.
        Stopped: after SIGTERM or Ctrl-C, with the progress saved.
    """
    with OutputLock(cfg.OUTPUT_DIR):
        logger.info("Run with config:\n%s", cfg)
        try:
            if cfg.TRAIN.ENABLE:
                train(cfg, rank)
            return test(cfg, rank) if cfg.TEST.ENABLE else None
        except Stopped as stopped:
            resumes = cfg.TRAIN.AUTO_RESUME or not cfg.TRAIN.ENABLE  # else the next start repeats all
            record_stop(cfg.OUTPUT_DIR, stopped, progress=rank.stop.progress and resumes)
            raise


def main(argv: Sequence[str] | None = None, *, prog: str = "run_net.py") -> int:
    """Run the command line of tools/run_net.py; 0, or 1 after an error."""
    description = "Train (TRAIN.ENABLE) and test (TEST.ENABLE) the network of a config."
    return run_command(train_and_test, argv, prog=prog, description=description)


def test_only(argv: Sequence[str] | None = None, *, prog: str) -> int:
    """Run the command line with TRAIN.ENABLE False and TEST.ENABLE True."""
    description = "Test the network of a config: TEST.CHECKPOINT_FILE_PATH, or the newest checkpoint of OUTPUT_DIR."
    only = ("TRAIN.ENABLE", "False", "TEST.ENABLE", "True")
    return run_command(train_and_test, argv, prog=prog, description=description, last=only)


def run_command(fn: Main, argv: Sequence[str] | None, *, prog: str, description: str, last: Sequence[str] = ()) -> int:
    """Launch `fn` by a command line and return its exit status; user errors are printed without a traceback.

    Args:
        fn: what each process runs.
        argv: None: sys.argv.
        prog, description: for --help.
        last: pairs that override those of the command line.
    """
    args, pairs = parse_args(argv, prog=prog, description=description)

    def command() -> None:
        cfg = load_cfg(args.cfg_file, [*pairs, *last])
        if args.print_cfg:
            print(cfg.dump(), end="")
            return
        if not cfg.NUM_GPUS:
            keep_freed_memory()
        launch(fn, cfg, args.init_method)

    return exit_status(command)


def reported(command: Callable[[], int], *, failed: int = 1) -> int:
    """Run a command that writes files and return its exit status; `failed` after a user error, which is printed."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return command()
    except (*USER_ERRORS, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
    return failed


def exit_status(command: Callable[[], None]) -> int:
    """Run a command and return its exit status; user errors are printed without a traceback.

    If the process group is still open after an error, exit here: its threads would abort the interpreter at shutdown
    and lose the exit status.
    """
    status = _status_of(command)
    if is_initialized():
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _status_of(command: Callable[[], None]) -> int:
    try:
        command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Stopped as error:
        print(error, file=sys.stderr)
        return EXIT_STATUS
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception:
        if not is_initialized():
            raise
        traceback.print_exc()
        return 1
    return 0
