"""The demo from end to end on fewer and smaller clips: its tables, its picture, its lines, and what it refuses."""

import json
import logging
import shlex
from functools import partial

import pytest
import torch

from slowfast_atfr.command import main
from slowfast_atfr.datasets.demo import write_demo_dataset
from slowfast_atfr.reproduce.demo import clips
from slowfast_atfr.reproduce.demo import run as demo
from slowfast_atfr.reproduce.demo.screen import epoch_lines

SMALL = ["SOLVER.MAX_EPOCH", "1", "SOLVER.WARMUP_EPOCHS", "0.0", "DATA.TRAIN_CROP_SIZE", "32"]
SMALL += ["DATA.TEST_CROP_SIZE", "32", "DATA.TRAIN_JITTER_SCALES", "[32, 40]", "DATA_LOADER.NUM_WORKERS", "0"]
SMALL += ["RESNET.WIDTH_PER_GROUP", "8"]
SMALL += ["SOLVER.BASE_LR", "1e-9", "SOLVER.WEIGHT_DECAY", "0.0", "BN.WEIGHT_DECAY", "0.0"]  # weights stay


@pytest.fixture
def few_videos(monkeypatch):
    def write(folder, **_):
        return write_demo_dataset(folder, videos_per_class_train=1, videos_per_class_val=1)

    monkeypatch.setattr(demo, "write_demo_dataset", write)


def cells(text, start):
    """The numbers of the markdown rows that begin so."""
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("| ")]
    return [row for row in rows if row[0].startswith(start)]


def assert_same_weights(folder):
    """Both networks have started from those of the coarse one."""
    coarse, *others = (
        torch.load(folder / name / "checkpoints/checkpoint_epoch_00001.pyth", weights_only=True)["model_state"]
        for name in ("3dresnet18_coarse", "3dresnet18", "3dresnet18_atfr")
    )
    for name in (name for name in coarse if name.endswith("weight")):
        for other in others:
            torch.testing.assert_close(other[name], coarse[name])


def test_both_networks_are_trained_tested_and_drawn_and_another_config_is_refused(
    repo, few_videos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(clips, "ROUNDS", 1)
    folder = tmp_path / "demo"
    run = partial(demo.run_demo, folder, repo / "configs/Demo")
    assert run(SMALL) == 0
    shown = capsys.readouterr().out
    (base, atfr) = cells(shown, "3DResNet-18")
    assert [base[0], atfr[0]] == list(demo.RUNS)
    assert float(base[3]) == 16 > float(atfr[3]) >= 1 and float(atfr[2]) < float(base[2])
    still, now_and_then, throughout = (int(cells(shown, name)[0][1].split()[0]) for name in ("still", "now", "through"))
    assert 1 <= still <= now_and_then <= throughout <= 16
    assert (folder / "results.md").read_text() in shown and "times as fast" in shown and "testing " not in shown
    assert (folder / "merging.png").stat().st_size > 10_000
    assert "epoch 1/1: loss " in shown and "test: " in shown and "json_stats" not in shown and "SOLVER:" not in shown
    assert "json_stats" in (folder / "3dresnet18/stdout.log").read_text()
    assert len(shown.splitlines()) < 40
    assert_same_weights(folder)
    monkeypatch.chdir(tmp_path)  # where the picture of the second command goes
    predict, visualize = (line for line in shown.splitlines() if " -m slowfast_atfr " in line)
    assert main(shlex.split(predict)[3:]) == 0
    rows = [row for row in capsys.readouterr().out.splitlines() if ".mp4" in row]
    assert len(rows) == 3 and all(any(name in row for name in clips.CLASSES) for row in rows)
    assert main(shlex.split(visualize)[3:]) == 0 and (tmp_path / "now_and_then.png").exists()

    assert run([*SMALL, "SGS.FEATURES", "mean", "TEST.BATCH_SIZE", "4"]) == 1
    message = capsys.readouterr().err
    assert "SGS.FEATURES was 'grid' and is 'mean'" in message and "TEST.BATCH_SIZE" not in message


def test_the_screen_has_a_line_for_each_epoch_and_all_warnings():
    show = epoch_lines("part")

    def shown(text, level=logging.INFO):
        return show(logging.LogRecord("name", level, "file", 1, text, (), None))

    epoch = {"_type": "train_epoch", "epoch": "2/6", "loss": 0.5, "top1_err": 12.5, "eta": "0:00:40"}
    assert shown(f"json_stats: {json.dumps(epoch)}") == (
        "part, epoch 2/6: loss 0.50, 88 % of clips right; 0:00:40 left"
    )
    assert shown('json_stats: {"_type": "train_iter"}') is None and shown("Run with config") is None
    assert shown("one video is lost", logging.WARNING) == "WARNING: one video is lost"
