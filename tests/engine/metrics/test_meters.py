import json
import logging
import sys

import numpy as np
import pytest
import torch

from slowfast_atfr.config import get_cfg
from slowfast_atfr.engine.metrics.averages import ScalarMeter
from slowfast_atfr.engine.metrics.meters import TrainMeter, ValMeter, progress
from slowfast_atfr.engine.metrics.video_meter import TestMeter
from tests.processes import run_in_processes

ONE_HOT = torch.eye(6)  # row i: the scores of a clip that is taken for class i


@pytest.fixture
def cfg():
    return make_cfg()


def make_cfg(**keys):
    cfg = get_cfg()
    cfg.LOG_PERIOD, cfg.SOLVER.MAX_EPOCH = 2, 196
    cfg.DATA.ENSEMBLE_METHOD = keys.get("method", "sum")
    cfg.freeze()
    return cfg


@pytest.fixture
def json_stats(caplog):
    caplog.set_level(logging.INFO, logger="slowfast_atfr")

    def read():
        lines = [record.getMessage() for record in caplog.records]
        return [json.loads(line.removeprefix("json_stats: ")) for line in lines if line.startswith("json_stats: ")]

    return read


def train_batch(meter, predicted, labels, loss, **extra):
    meter.iter_tic()
    meter.data_toc()
    meter.update(loss=loss, scores=ONE_HOT[predicted], labels=torch.tensor(labels), lr=0.125, extra=extra)
    meter.iter_toc()


def test_training_reports_as_pyslowfast_does(cfg, json_stats):
    meter = TrainMeter(4, cfg)
    gflops = np.array([10.0, 20.0, 30.0])
    train_batch(meter, [0, 1, 2], [0, 1, 0], torch.tensor(1.0), gflops_per_clip=gflops)  # 1 of 3 wrong
    meter.log_iter_stats(2, 0)
    assert json_stats() == []  # LOG_PERIOD is 2
    train_batch(meter, [0], [1], 5.0, gflops_per_clip=60.0)  # a last batch of one clip
    meter.log_iter_stats(2, 1)
    (line,) = json_stats()
    assert line["_type"] == "train_iter" and line["epoch"] == "3/196" and line["iter"] == "2/4"
    assert line["lr"] == 0.125 and line["loss"] == 3.0  # the median of two batches
    assert line["top1_err"] == pytest.approx((100 / 3 + 100) / 2, rel=1e-5)
    assert {"dt", "dt_data", "dt_net", "eta", "gpu_mem", "top5_err"} <= set(line)
    returned = meter.log_epoch_stats(2)
    line = json_stats()[-1]
    assert line["_type"] == "train_epoch" and line["epoch"] == "3/196" and "RAM" in line and "iter" not in line
    assert line["loss"] == 2.0 and line["top1_err"] == 50.0  # by clips: (3 * 1 + 5) / 4, 2 of 4
    assert line["gflops_per_clip"] == 30.0 == returned["gflops_per_clip"]


def test_the_time_left_counts_all_epochs(cfg, monkeypatch):
    meter = TrainMeter(10, cfg)
    train_batch(meter, [0], [0], 1.0)
    monkeypatch.setattr(ScalarMeter, "mean", 2.0)
    assert meter.log_epoch_stats(0)["eta"] == "1:05:00"  # of 195 * 10 iterations, two seconds each
    assert meter.log_epoch_stats(195)["eta"] == "0:00:00"


def test_a_new_epoch_forgets_the_last(cfg):
    meter = TrainMeter(1, cfg)
    train_batch(meter, [0], [1], 9.0)
    meter.reset()
    train_batch(meter, [0], [0], 1.0)
    stats = meter.log_epoch_stats(0, num_skipped=3)
    assert (stats["loss"], stats["top1_err"], stats["num_skipped"]) == (1.0, 0.0, 3)


def test_two_classes_have_a_top_two(cfg):
    meter = ValMeter(1, cfg)
    meter.update(scores=torch.eye(2), labels=torch.tensor([1, 0]))
    stats = meter.log_epoch_stats(0)
    assert (stats["top1_err"], stats["top5_err"]) == (100.0, 0.0)


def test_validation_keeps_the_least_error(cfg, json_stats):
    meter = ValMeter(2, cfg)
    for epoch, predicted in enumerate(([0, 1], [0, 0], [1, 1])):
        meter.reset()
        meter.update(scores=ONE_HOT[predicted], labels=torch.tensor([0, 1]))
        meter.log_iter_stats(epoch, 1)
        meter.log_epoch_stats(epoch)
    lines = json_stats()
    assert [line["_type"] for line in lines] == ["val_iter", "val_epoch"] * 3
    assert [(line["top1_err"], line["min_top1_err"]) for line in lines[1::2]] == [(0, 0), (50, 0), (50, 0)]
    assert lines[0]["iter"] == "2/2" and {"eta", "time_diff", "gpu_mem"} <= set(lines[0])


def test_an_epoch_without_a_batch_is_an_error(cfg):
    with pytest.raises(ValueError, match="no video of this epoch"):
        ValMeter(0, cfg).log_epoch_stats(0)


def test_extra_values_are_of_clips(cfg):
    with pytest.raises(ValueError, match=r"active_bins is \(3,\); expected one value for each of the 2 clips"):
        ValMeter(1, cfg).update(
            scores=ONE_HOT[:2], labels=torch.tensor([0, 1]), extra={"active_bins": np.array([1.0, 2.0, 3.0])}
        )


def names(count):
    return [str(index) for index in range(count)]


def report_view(meter, video, view, label, scores, **extra):
    scores = torch.tensor([scores])
    meter.update(scores=scores, labels=torch.tensor([label]), videos=[video], views=[view], extra=extra)


def test_views_are_brought_together_by_video(json_stats):
    # by sum video 0 is taken for class 1, by max for class 0
    views = [(0, 0, 0, [0.7, 0.3]), (0, 1, 0, [0.1, 0.9]), (0, 2, 0, [0.3, 0.7]), (1, 0, 1, [0.2, 0.8])]
    views += [(1, 1, 1, [0.2, 0.8]), (1, 2, 1, [0.2, 0.8])]
    for method, top1 in (("sum", "50.00"), ("max", "50.00")):
        meter = TestMeter(names(2), 3, 6, make_cfg(method=method))
        for view in views:
            report_view(meter, *view, gflops_per_clip=2.0)
        stats = meter.finalize(net_seconds=2.0)
        assert stats["top1_acc"] == top1 and stats["top5_acc"] == "100.00"
    line = json_stats()[-1]
    assert line["_type"] == line["split"] == "test_final" and line["num_videos"] == 2 and line["num_skipped"] == 0
    assert line["gflops_per_clip"] == 2.0 and line["clips_per_second"] == 3.0


def test_sum_and_max_can_disagree():
    accuracies = {}
    for method in ("sum", "max"):
        meter = TestMeter(names(1), 2, 1, make_cfg(method=method))
        report_view(meter, 0, 0, 0, [0.5, 0.4, 0.1])
        report_view(meter, 0, 1, 0, [0.0, 0.4, 0.45])
        accuracies[method] = meter.finalize(net_seconds=2.0)["top1_acc"]
    assert accuracies == {"sum": "0.00", "max": "100.00"}


def test_skipped_and_incomplete_videos_are_named(cfg, caplog):
    meter = TestMeter(["a.mp4", "b.mp4", "c.mp4"], 2, 1, cfg)
    report_view(meter, 0, 0, 0, [0.9, 0.1])
    report_view(meter, 0, 1, 0, [0.9, 0.1])
    report_view(meter, 2, 1, 0, [0.1, 0.9])
    stats = meter.finalize(net_seconds=2.0)
    assert (stats["top1_acc"], stats["num_videos"], stats["num_skipped"]) == ("50.00", 2, 1)
    assert "1 of 3 videos could not be tested and are left out: b.mp4" in caplog.text
    assert "1 of 3 videos lack some of their 2 views and are tested on the others: c.mp4" in caplog.text


def test_many_videos_are_counted_but_not_all_named(cfg, caplog):
    meter = TestMeter(names(100), 1, 1, cfg)
    report_view(meter, 99, 0, 0, [0.9, 0.1])
    meter.finalize(net_seconds=2.0)
    assert "99 of 100 videos could not be tested" in caplog.text and "8, 9 and 89 more" in caplog.text


def test_no_video_at_all_is_an_error(cfg):
    with pytest.raises(ValueError, match="none of the 3 videos"):
        TestMeter(names(3), 1, 0, cfg).finalize(net_seconds=2.0)


def test_results_are_saved_as_tensors(cfg, tmp_path):
    meter = TestMeter(names(3), 1, 1, cfg)
    report_view(meter, 2, 0, 1, [0.25, 0.75], gflops_per_clip=3.0)
    report_view(meter, 0, 0, 0, [0.5, 0.5], gflops_per_clip=2.0)
    meter.finalize(net_seconds=2.0)
    path = tmp_path / "deep" / "results.pt"
    meter.save_results(str(path))
    saved = torch.load(path, weights_only=True)
    assert saved["videos"].tolist() == [0, 2] and saved["labels"].tolist() == [0, 1]
    assert saved["scores"].tolist() == [[0.5, 0.5], [0.25, 0.75]] and saved["paths"] == ["0", "2"]
    assert saved["gflops_per_clip"].tolist() == [2.0, 3.0] and saved["num_views"].tolist() == [1, 1]


def test_wrong_videos_are_told(cfg):
    with pytest.raises(ValueError, match="video 2 is not one of the 2"):
        report_view(TestMeter(names(2), 1, 1, cfg), 2, 0, 1, [0.5, 0.5])


def test_the_bar_is_for_terminals(monkeypatch, capsys):
    assert list(progress(range(3), "test")) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress(range(3), "test")) == [0, 1, 2]
    assert "test" in capsys.readouterr().err


def _share(rank):
    """What two processes report together is what one process reports of all clips."""
    logged = []
    logging.getLogger("slowfast_atfr").addHandler(handler := logging.Handler())
    logging.getLogger("slowfast_atfr").setLevel(logging.INFO)
    handler.emit = lambda record: logged.append(record.getMessage())
    cfg = make_cfg()
    train = TrainMeter(2, cfg)
    # rank 0 has 3 clips and 1 clip, rank 1 has 1 and 1
    for predicted, labels, loss in (
        (([0, 1, 2], [0, 1, 2], 1.0), ([0], [1], 2.0)) if rank == 0 else (([0], [3], 5.0),) * 2
    ):
        train_batch(train, predicted, labels, loss)
    train.log_iter_stats(0, 1)
    line = json.loads(logged[-1].removeprefix("json_stats: "))
    assert line["loss"] == (2.0 + 3.5) / 2  # per iteration over both ranks: (3 * 1 + 5) / 4 and (2 + 5) / 2
    stats = train.log_epoch_stats(0)
    assert stats["loss"] == pytest.approx((3 + 2 + 5 + 5) / 6) and stats["top1_err"] == pytest.approx(50.0)

    val = ValMeter(2, cfg)
    if rank == 0:  # the other one has nothing to validate
        val.update(scores=ONE_HOT[[0, 1]], labels=torch.tensor([0, 2]))
        val.log_iter_stats(0, 1)
    assert val.log_epoch_stats(0)["top1_err"] == 50.0

    # video 0 seen by both, video 1 in halves, video 2 by rank 1, video 3 by none
    test = TestMeter(names(4), 2, 1, cfg)
    for video, view in ((0, 0), (0, 1), (1, 0)) if rank == 0 else ((0, 1), (1, 1), (2, 0), (2, 1)):
        report_view(test, video, view, 0, [0.2, 0.8] if (video, view) == (1, 1) else [0.6, 0.4], active_bins=1.0)
    final = test.finalize(net_seconds=2.0)
    assert (final["num_videos"], final["num_skipped"], final["top1_acc"]) == (3, 1, "66.67")
    torch.testing.assert_close(test._results.scores, torch.tensor([[1.2, 0.8], [0.8, 1.2], [1.2, 0.8]]))


def test_meters_of_two_processes_merge(tmp_path):
    run_in_processes(_share, tmp_path)
