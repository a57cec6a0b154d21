"""The demo from end to end on fewer and smaller clips: its table, its picture, and what it refuses."""

from functools import partial

import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets import pathways
from slowfast_atfr.datasets.demo import write_demo_dataset
from slowfast_atfr.models import build_model
from slowfast_atfr.reproduce import demo

SMALL = ["SOLVER.MAX_EPOCH", "1", "SOLVER.WARMUP_EPOCHS", "0.0", "DATA.TRAIN_CROP_SIZE", "32"]
SMALL += ["DATA.TEST_CROP_SIZE", "32", "DATA.TRAIN_JITTER_SCALES", "[32, 40]", "DATA_LOADER.NUM_WORKERS", "0"]
SMALL += ["BN.NUM_BATCHES_PRECISE", "1", "TRAIN.EVAL_PERIOD", "1", "RESNET.WIDTH_PER_GROUP", "8"]


@pytest.fixture
def few_videos(monkeypatch):
    def write(folder, **_):
        return write_demo_dataset(folder, videos_per_class_train=1, videos_per_class_val=1)

    monkeypatch.setattr(demo, "write_demo_dataset", write)


def test_both_networks_are_trained_tested_and_drawn_and_another_config_is_refused(repo, few_videos, tmp_path, capsys):
    run = partial(demo.run_demo, tmp_path / "demo", repo / "configs/Demo")
    assert run(SMALL) == 0
    table = capsys.readouterr().out
    rows = [row.split("|")[1:-1] for row in table.splitlines() if row.startswith("| SlowFast")]
    base, atfr = ([float(cell) for cell in row[1:]] for row in rows)
    assert [row[0].strip() for row in rows] == list(demo.RUNS)
    assert base[2:4] == [8, 32] and atfr[2] < 8 and atfr[3] < 32 and atfr[1] < base[1]
    assert (tmp_path / "demo/results.md").read_text() in table
    assert (tmp_path / "demo/merging.png").stat().st_size > 10_000

    assert run([*SMALL, "SGS.KERNEL", "linear", "TEST.BATCH_SIZE", "4"]) == 1
    told = capsys.readouterr().err
    assert "SGS.KERNEL was 'linear_mean' and is 'linear'" in told and "TEST.BATCH_SIZE" not in told
    assert run([*SMALL, "TEST.BATCH_SIZE", "4", "DATA_LOADER.NUM_WORKERS", "1"]) == 0  # what training does not see


def test_both_pathways_learn_which_frames_are_alike(repo):
    cfg = load_cfg(str(repo / "configs/Demo/SLOWFAST_R18_ATFR.yaml"))
    model, frames = build_model(cfg), torch.randint(256, (2, 32, 64, 64, 3), dtype=torch.uint8)
    model(pathways(frames, cfg)).square().sum().backward()
    weights = {name: weight for name, weight in model.named_parameters() if "sgs" in name and weight.ndim > 1}
    assert {name.split(".")[1] for name in weights} == {"pathway0", "pathway1"}
    for name, weight in weights.items():  # in blocks of 2 what is left is rounding
        assert weight.grad.abs().max() > 1e-4 * weight.abs().max(), name
