"""A run that ends at any moment, by a signal or a kill, goes on as if it had never stopped."""

import os
import signal
import subprocess
import sys

import pytest

from slowfast_atfr.engine import test as testing
from slowfast_atfr.engine import train as train_module
from slowfast_atfr.engine.cli import main
from slowfast_atfr.engine.launch.processes import launch
from slowfast_atfr.engine.metrics.meters import TrainMeter
from slowfast_atfr.engine.multigrid import MultigridSchedule
from slowfast_atfr.engine.train import train
from slowfast_atfr.utils.stop import EXIT_STATUS
from tests.runs import ONE_PATHWAY, Killed, assert_same, last, stats_of

CONFIG = "configs/Demo/SLOWFAST_R18.yaml"
MULTIGRID = {
    **ONE_PATHWAY,
    "MULTIGRID__LONG_CYCLE": True,
    "MULTIGRID__SHORT_CYCLE": True,
    "MULTIGRID__SHORT_CYCLE_FACTORS": "[0.75, 0.9]",
    "MULTIGRID__BN_BASE_SIZE": 4,
    "MULTIGRID__EPOCH_FACTOR": 1.0,
    "TRAIN__BATCH_SIZE": 1,
    "SOLVER__LR_POLICY": "steps_with_relative_lrs",
    "SOLVER__STEPS": "[0, 6, 9]",
    "SOLVER__LRS": "[1, 0.1, 0.01]",
    "SOLVER__MAX_EPOCH": 10,
    "SOLVER__BASE_LR": 1e-4,
    # batch norm over two values that are almost equal, one pixel of one map of two clips, has gradients of any size
    "SOLVER__CLIP_GRAD_L2NORM": 1.0,
}
EVERYTHING = {
    **ONE_PATHWAY,
    "AUG__ENABLE": True,
    "MIXUP__ENABLE": True,
    "MODEL__LOSS_FUNC": "soft_cross_entropy",
    "SOLVER__EMA_DECAY": 0.9,
    "SOLVER__GRAD_ACCUM_STEPS": 2,
    "TRAIN__MIXED_PRECISION": True,
    "SOLVER__CLIP_GRAD_L2NORM": 1.0,
}


def figures_of(folder, kind):
    """What was logged, without times and memory."""
    return [
        {k: v for k, v in s.items() if not k.startswith(("dt", "eta", "gpu", "RAM", "time"))}
        for s in stats_of(folder, kind)
    ]


@pytest.mark.parametrize(
    ("moment", "epochs", "settings"),
    [pytest.param(2, 2, {}, marks=pytest.mark.slow), (4, 1, EVERYTHING)],
    ids=["plain", "everything"],
)
def test_a_run_that_is_killed_within_an_epoch_is_the_run_that_was_not(
    tiny_cfg, tmp_path, monkeypatch, moment, epochs, settings
):
    shared = {"TRAIN__BATCH_SIZE": 2, "TRAIN__CHECKPOINT_ITERATIONS": 2, "SOLVER__MAX_EPOCH": epochs, **settings}
    launch(train, tiny_cfg(OUTPUT_DIR=tmp_path / "whole", **shared))
    log, seen = TrainMeter.log_iter_stats, []

    def die(self, *args):
        log(self, *args)
        seen.append(args)
        if len(seen) == moment + 1:
            raise Killed

    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "parts", **shared)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TrainMeter, "log_iter_stats", die)
        launch(train, cfg)
    names = sorted(path.name for path in (tmp_path / "parts" / "checkpoints").iterdir())
    assert names == [f"checkpoint_epoch_00001_clips_{2 * moment:08d}.pyth"]
    launch(train, cfg)
    assert_same(last(tmp_path / "whole", epochs), last(tmp_path / "parts", epochs))
    assert figures_of(tmp_path / "whole", "train_epoch") == figures_of(tmp_path / "parts", "train_epoch")
    assert figures_of(tmp_path / "whole", "val_epoch") == figures_of(tmp_path / "parts", "val_epoch")


@pytest.fixture(scope="module")
def whole_run(repo, tmp_path_factory):
    """The folder of a run that nothing stops, the same for all tests."""
    folders = {}

    def run(pairs):
        if tuple(pairs) not in folders:
            folders[tuple(pairs)] = folder = tmp_path_factory.mktemp("whole")
            assert main(["--cfg", str(repo / CONFIG), *pairs, "OUTPUT_DIR", str(folder)]) == 0
        return folders[tuple(pairs)]

    return run


def test_sigterm_writes_a_checkpoint_and_ends(repo, tiny_pairs, tmp_path, monkeypatch, capsys):
    shared = {**ONE_PATHWAY, "TRAIN__BATCH_SIZE": 2, "SOLVER__MAX_EPOCH": 1, "TEST__ENABLE": False}
    assert main(["--cfg", str(repo / CONFIG), *tiny_pairs(OUTPUT_DIR=tmp_path / "whole", **shared)]) == 0
    mix, seen = train_module._mix, []

    def be_told(*args):
        seen.append(args)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return mix(*args)

    command = ["--cfg", str(repo / CONFIG), *tiny_pairs(OUTPUT_DIR=tmp_path / "parts", **shared)]
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_mix", be_told)
        assert main(command) == EXIT_STATUS
    told = capsys.readouterr().err
    assert "SIGTERM" in told and "after iteration 3 of epoch 1" in told and "Start it again" in told
    assert main(command) == 0
    assert_same(last(tmp_path / "whole", 1), last(tmp_path / "parts", 1))


PRECISE = "precise batch norm"
MOMENTS = {
    "before the first iteration": "before epoch 1",
    "in the last iteration": "after iteration 6 of epoch 2",
    PRECISE: "in the precise batch norm of epoch 2",
    "in the validation": "in the validation of epoch 2",
    "in a validation without a checkpoint": "in the validation of epoch 1",
    "after the last validation": "after the last epoch",
    "in the test": "in its test; ",
}


# others stop in the same code
SLOW_MOMENTS = (
    *("in the last iteration", "in the validation"),
    *("in a validation without a checkpoint", "after the last validation"),
)


@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW_MOMENTS else name for name in MOMENTS]
)
def test_a_run_stops_wherever_it_is_told_to_and_goes_on_bit_for_bit(
    repo, tiny_pairs, tmp_path, monkeypatch, capsys, whole_run, moment
):
    shared = {**ONE_PATHWAY, "SOLVER__EMA_DECAY": 0.9, "SOLVER__MAX_EPOCH": 2}
    shared |= {"TRAIN__BATCH_SIZE": 2, "TRAIN__CHECKPOINT_PERIOD": 2}
    whole_folder = whole_run(tiny_pairs(OUTPUT_DIR=".", **shared))

    def told_at(owner, name, call=1):
        """The process gets SIGTERM where this function is called for the n-th time."""
        function, calls = getattr(owner, name), []

        def wrapped(*args, **kwargs):
            calls.append(name)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGTERM)
            return function(*args, **kwargs)

        patch.setattr(owner, name, wrapped)

    command = ["--cfg", str(repo / CONFIG), *tiny_pairs(OUTPUT_DIR=tmp_path / "parts", **shared)]
    with monkeypatch.context() as patch:
        if moment == "before the first iteration":
            told_at(train_module, "build_run")
        elif moment == "in the last iteration":
            told_at(train_module, "_mix", 12)
        elif moment == PRECISE:
            told_at(train_module, "update_precise_bn", 4)  # of the average, after the network's own
        elif moment == "in the test":
            told_at(testing.TestMeter, "update", 3)
        elif moment == "after the last validation":
            told_at(train_module.RunMonitors, "log_validation", 2)
        else:
            told_at(train_module, "eval_epoch", 2 if moment == "in the validation" else 1)
        assert main(command) == EXIT_STATUS
    assert MOMENTS[moment] in capsys.readouterr().err and not stats_of(tmp_path / "parts", "test_final")
    assert main(command) == 0
    assert_same(last(whole_folder, 2), last(tmp_path / "parts", 2))
    assert figures_of(whole_folder, "val_epoch") == figures_of(tmp_path / "parts", "val_epoch")
    whole, parts = (figures_of(folder, "test_final")[0] for folder in (whole_folder, tmp_path / "parts"))
    assert {**whole, "clips_per_second": 0} == {**parts, "clips_per_second": 0}
    assert not (tmp_path / "parts" / "test_stopped.pth").exists()


@pytest.mark.parametrize(
    ("moments", "more"),
    [
        ((10,), {"TRAIN__EVAL_PERIOD": 10}),
        pytest.param((3, 10, 17), {}, marks=pytest.mark.slow),
    ],
    ids=["one kill", "three kills"],
)
def test_a_multigrid_run_takes_every_shape_and_goes_on_after_kills(tiny_cfg, tmp_path, monkeypatch, moments, more):
    shared = {"TRAIN__CHECKPOINT_ITERATIONS": 2, **MULTIGRID, **more}
    whole = tiny_cfg(OUTPUT_DIR=tmp_path / "whole", **shared)
    shapes, original = [], train_module.to_inputs

    def note(batch, cfg, device):
        shapes.append(tuple(batch.frames.shape[:3]))
        return original(batch, cfg, device)

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "to_inputs", note)
        launch(train, whole)
    trained = set(shapes)
    assert {(8, 2, 23), (4, 4, 23), (2, 4, 32), (1, 8, 32)} <= trained  # of the long cycle
    assert {(4, 4, 24), (2, 4, 29), (2, 8, 24), (1, 8, 29)} <= trained  # of the short one
    norms = {(phase.norm, phase.norm_splits) for phase in MultigridSchedule(whole).phases}
    assert norms == {("sub_batchnorm", 2), ("batchnorm", 1), ("sync_batchnorm", 1)}
    cfg = tiny_cfg(OUTPUT_DIR=tmp_path / "parts", **shared)
    log = TrainMeter.log_iter_stats
    for moment in moments:
        seen = []

        def die(self, *args, seen=seen, moment=moment):
            log(self, *args)
            seen.append(args)
            if len(seen) == moment:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(TrainMeter, "log_iter_stats", die)
            launch(train, cfg)
    launch(train, cfg)
    assert_same(last(tmp_path / "whole", 10), last(tmp_path / "parts", 10))


def test_a_nan_is_told_with_the_videos_and_the_last_good_step(repo, tiny_pairs, tmp_path, monkeypatch, capsys):
    spoilt, original = [], train_module.to_inputs

    def spoil(batch, cfg, device):
        inputs = original(batch, cfg, device)
        spoilt.append(batch)
        return [clips * (float("nan") if len(spoilt) == 2 else 1) for clips in inputs]

    monkeypatch.setattr(train_module, "to_inputs", spoil)
    pairs = tiny_pairs(SGS__ENABLE=False, TRAIN__BATCH_SIZE=4)
    assert main(["--cfg", str(repo / CONFIG), *pairs]) == 1
    told = capsys.readouterr().err
    assert "the loss is nan in iteration 2 of epoch 1; the last good step was iteration 1 of epoch 1" in told
    assert told.count("train_") == 4


@pytest.mark.slow
def test_a_kill_of_the_process_itself_loses_nothing(repo, tiny_pairs, tmp_path):
    shared = {"SOLVER__MAX_EPOCH": 2, "TRAIN__CHECKPOINT_ITERATIONS": 1, "TEST__ENABLE": False}
    command = [sys.executable, str(repo / "tools" / "run_net.py"), "--cfg", CONFIG]
    quiet = {"cwd": repo, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    subprocess.run([*command, *tiny_pairs(OUTPUT_DIR=tmp_path / "whole", **shared)], check=True, **quiet)
    run = [*command, *tiny_pairs(OUTPUT_DIR=tmp_path / "parts", **shared)]
    process = subprocess.Popen(run, **quiet)
    for line in process.stdout:
        if '"train_iter"' in line and '"iter": "2/3"' in line:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    subprocess.run(run, check=True, **quiet)
    assert_same(last(tmp_path / "whole", 2), last(tmp_path / "parts", 2))
