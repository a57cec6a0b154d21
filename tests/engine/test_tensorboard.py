"""Curves and histograms are those of the log, and an interrupted run's go on."""

import pytest

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.cli import main as run_net
from slowfast_atfr.engine.metrics import tensorboard
from slowfast_atfr.engine.metrics.tensorboard import TensorBoard
from slowfast_atfr.utils.errors import RunError
from tests.runs import Killed, stats_of
from tests.tiny_sets import small_pairs, write_clips

CONFIG = "configs/Demo/SLOWFAST_R18_ATFR.yaml"


@pytest.fixture
def argv(repo, tmp_path):
    for split in ("train", "val"):
        clips = [(f"{split}{number}.mp4", number % 3) for number in range(6)]
        write_clips(tmp_path / "videos", clips)
        (tmp_path / f"{split}.csv").write_text("".join(f"{name} {label}\n" for name, label in clips))
    sets = {"TRAIN__DATASET": "kinetics", "TEST__DATASET": "kinetics", "TEST__ENABLE": False, "NUM_GPUS": 0}
    places = {"DATA__PATH_TO_DATA_DIR": tmp_path, "DATA__PATH_PREFIX": tmp_path / "videos", "OUTPUT_DIR": tmp_path}
    every = {"TRAIN__EVAL_PERIOD": 1, "TRAIN__CHECKPOINT_PERIOD": 1, "LOG_PERIOD": 1, "SOLVER__MAX_EPOCH": 2}

    def build(**changes):
        return ["--cfg", str(repo / CONFIG), *small_pairs(**sets | places | every | changes)]

    return build


def read(folder):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(folder), {"scalars": 0, "histograms": 0})
    return events.Reload()


def test_curves_are_those_of_the_log_under_pyslowfasts_tags_and_go_on_at_a_resume(argv, tmp_path, monkeypatch):
    on = {"TENSORBOARD__ENABLE": True}
    real = TensorBoard.add

    def stopped(self, kind, stats, step):
        if kind == "Train" and step == 2:
            raise Killed
        real(self, kind, stats, step)

    monkeypatch.setattr(tensorboard.TensorBoard, "add", stopped)
    with pytest.raises(Killed):
        run_net(argv(**on))
    monkeypatch.undo()
    assert run_net(argv(**on)) == 0
    events = read(tmp_path / "runs-kinetics")
    assert {"Train/loss", "Train/lr", "Train/Top1_err", "Train/Top5_err", "Val/Top1_err", "Val/Top5_err"} <= set(
        events.Tags()["scalars"]
    )
    # 2 iterations of training an epoch, 2 of validation
    for kind, prefix, steps in (
        ("train_iter", "Train", [0, 1, 2, 3]),
        ("train_epoch", "Train_epoch", [1, 3]),
        ("val_epoch", "Val", [1, 3]),
    ):
        told = stats_of(tmp_path, kind)[-len(steps) :]
        names = ["top1_err", "gflops_per_clip", *(("loss", "lr", "grad_norm") if kind != "val_epoch" else ())]
        for name in names:
            curve = events.Scalars(f"{prefix}/{'Top1_err' if name == 'top1_err' else name}")
            assert [point.step for point in curve] == steps, (kind, name)
            expected = [float(entry[name]) for entry in told]
            assert [point.value for point in curve][-2:] == pytest.approx(expected[-2:], rel=1e-4)
    for pathway in ("slow", "fast"):
        histograms = events.Histograms(f"active_bins_s2_{pathway}")
        assert [histogram.step for histogram in histograms] == [1, 3]
        assert histograms[-1].histogram_value.num == 6  # every clip once
        mean = histograms[-1].histogram_value.sum / 6
        assert mean == pytest.approx(stats_of(tmp_path, "train_epoch")[-1][f"active_bins_s2_{pathway}"], rel=1e-4)


def test_without_the_key_nothing_is_written(argv, tmp_path):
    assert run_net(argv(SOLVER__MAX_EPOCH=1)) == 0
    assert not (tmp_path / "runs-kinetics").exists()


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(RunError, match=r"there is no tensorboard: pip install 'slowfast_atfr\[viz\]'"):
        TensorBoard(load_cfg(None, ["TENSORBOARD.ENABLE", "True"]), 0)


@pytest.mark.parametrize("part", ["MODEL_VIS", "CONFUSION_MATRIX", "HISTOGRAM", "WRONG_PRED_VIS"])
def test_pyslowfasts_other_parts_may_stand_where_they_are_off(part):
    load_cfg(None, [f"TENSORBOARD.{part}.ENABLE", "False", "TENSORBOARD.CLASS_NAMES_PATH", "x.json"])
    with pytest.raises(Exception, match=f"TENSORBOARD.{part}.ENABLE"):
        load_cfg(None, [f"TENSORBOARD.{part}.ENABLE", "True"])
