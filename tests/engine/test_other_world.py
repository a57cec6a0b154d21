"""A run goes on with another number of processes, from within an epoch."""

import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.checkpoint.save import checkpoint_path
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.engine.metrics.meters import TrainMeter
from slowfast_atfr.engine.train import train
from tests.engine import double
from tests.processes import free_port, start_processes
from tests.runs import Killed, stats_of

PATCHED = [*double.SET, (TrainMeter, "log_iter_stats")]  # by the runs

SHARED = {
    "MODEL__DROPOUT_RATE": 0.0, "SGS__KERNEL": "linear_mean", "BN__NORM_TYPE": "sync_batchnorm",
    "BN__NUM_SYNC_DEVICES": 2, "BN__USE_PRECISE_STATS": False, "SOLVER__MAX_EPOCH": 1, "SOLVER__BASE_LR": 0.01,
    "TRAIN__CHECKPOINT_ITERATIONS": 2, "LOG_MODEL_INFO": False,
}  # fmt: skip


def _train(rank, pairs, where):
    """The process `rank` of a run, in float64; with a place to meet, one of several."""
    torch.set_num_threads(1)
    double.in_double()
    launch(train, load_cfg(None, [*pairs, "SHARD_ID", str(rank)]), where, rendezvous_seconds=60.0)


def _raise_killed():
    raise Killed


def _die(rank, pairs, where):
    """The same, ending at the end of the third iteration, before its checkpoint."""
    log, seen = TrainMeter.log_iter_stats, []

    def log_and_die(self, *args):
        log(self, *args)
        seen.append(args)
        if len(seen) == 3:
            os._exit(0) if where else _raise_killed()

    TrainMeter.log_iter_stats = log_and_die
    _train(rank, pairs, where)


@pytest.fixture
def run(monkeypatch):
    """Runs one process here, or two shards."""

    def start(pairs, processes, process=_train):
        pairs = [*pairs, "TRAIN.BATCH_SIZE", str(4 // processes), "NUM_SHARDS", str(processes)]
        if processes == 1:
            with monkeypatch.context() as here:
                for owner, name in PATCHED:
                    here.setattr(owner, name, getattr(owner, name))
                process(0, pairs, "")
        else:
            start_processes(process, pairs, f"tcp://localhost:{free_port()}", world=processes)

    return start


@pytest.mark.parametrize(("before", "after"), [pytest.param(1, 2, marks=pytest.mark.slow), (2, 1)])
def test_position_weights_and_optimizer_carry_over(run, tiny_pairs, tmp_path, before, after):
    run(tiny_pairs(OUTPUT_DIR=tmp_path / "whole", **SHARED), 1)
    pairs = tiny_pairs(OUTPUT_DIR=tmp_path / "parts", **SHARED)
    with pytest.raises(Killed) if before == 1 else nullcontext():
        run(pairs, before, _die)
    (within,) = (tmp_path / "parts" / "checkpoints").iterdir()
    assert within.name == "checkpoint_epoch_00001_clips_00000008.pyth"  # of both processes, if there are two
    run(pairs, after)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    losses, again = ([entry["loss"] for entry in stats_of(folder, "train_iter")] for folder in (whole, parts))
    assert len(losses) == 3 and again == pytest.approx([*losses, losses[2]], rel=1e-5)  # the third is done twice
    (epoch,) = stats_of(parts, "train_epoch")
    assert epoch["loss"] == pytest.approx(losses[2], rel=1e-5)  # of what was left of the epoch
    one, other = (torch.load(checkpoint_path(str(folder), 0), weights_only=True) for folder in (whole, parts))
    assert len(other["rng_state"]) == after
    for name in ("model_state", "optimizer_state"):
        close(one[name], other[name])
    log = Path(parts / "stdout.log").read_text()
    assert f"was written by a run of {before} process(es), this one has {after}: weights, optimizer and pos" in log
    assert "is reset" not in log


def close(one, other):
    """SGS measures in float32, so more than that many digits do not agree."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            close(one[key], other[key])
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-5)
