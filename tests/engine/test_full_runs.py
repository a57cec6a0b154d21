"""The real thing, minutes long: run with --slow. Small twins are in test_train.py."""

import json
import os

import pytest
import torch

from slowfast_atfr.engine.cli import main


@pytest.fixture
def all_cores():
    """Full-size networks take all cores; the rest of the suite takes one for each test."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    yield
    torch.set_num_threads(threads)


def final_of(folder):
    lines = [line.partition("json_stats: ")[2] for line in (folder / "stdout.log").read_text().splitlines()]
    (final,) = [stats for stats in map(json.loads, filter(None, lines)) if stats["_type"] == "test_final"]
    return final


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_full_r50_trains_and_tests_64_frames_on_a_cpu(repo, real_clips, tmp_path, all_cores):
    data = real_clips / "frame_folders"
    pairs = f"DATA.PATH_TO_DATA_DIR {data} DATA.PATH_PREFIX {data} NUM_GPUS 0 TRAIN.BATCH_SIZE 1 TEST.BATCH_SIZE 1"
    config = str(repo / "configs/SSv2/SLOWFAST_8x8_R50_ATFR.yaml")
    assert main(["--cfg", config, *pairs.split(), "SOLVER.MAX_EPOCH", "1", "OUTPUT_DIR", str(tmp_path)]) == 0
    assert (tmp_path / "checkpoints" / "checkpoint_epoch_00001.pyth").is_file()
    final = final_of(tmp_path)
    assert final["num_videos"] == 1 and 8 <= final["active_bins_s2_slow"] <= 16 and final["gflops_per_clip"] < 100.7


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_3dresnet18_with_sgs_learns_real_actions_from_scratch(repo, real_clips, tmp_path, all_cores):
    data = real_clips / "weizmann"
    pairs = f"DATA.PATH_TO_DATA_DIR {data} DATA.PATH_PREFIX {data} OUTPUT_DIR {tmp_path} " + WEIZMANN
    assert main(["--cfg", str(repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml"), *pairs.split()]) == 0
    final = final_of(tmp_path)
    assert final["num_videos"] == 30 and final["active_bins_s2"] < 32
    assert float(final["top1_acc"]) >= 40  # chance is 10


WEIZMANN = """
NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 1 TRAIN.BATCH_SIZE 10 TEST.BATCH_SIZE 8 TEST.NUM_ENSEMBLE_VIEWS 1
TEST.NUM_SPATIAL_CROPS 1 DATA.TRAIN_CROP_SIZE 112 DATA.TEST_CROP_SIZE 112 DATA.TRAIN_JITTER_SCALES [112,128]
MODEL.NUM_CLASSES 10 MODEL.DROPOUT_RATE 0.5 SGS.KERNEL linear_mean SGS.ORDER time SOLVER.OPTIMIZING_METHOD adamw
SOLVER.BASE_LR 0.001 SOLVER.WEIGHT_DECAY 0.05 SOLVER.WARMUP_EPOCHS 5.0 SOLVER.WARMUP_START_LR 0.0001
SOLVER.MAX_EPOCH 60 TRAIN.EVAL_PERIOD 15 TRAIN.CHECKPOINT_PERIOD 60
"""
