"""The real thing, minutes long: run with --slow. Small twins are in test_train.py."""

import json
import os

import pytest
import torch

from slowfast_atfr.engine.cli import main
from slowfast_atfr.reproduce.tables import SCALED_DOWN, on_lists
from slowfast_atfr.utils.precision import lacks_convolutions


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
@pytest.mark.timeout(1800)
def test_3dresnet18_with_sgs_learns_real_actions_from_scratch(repo, real_clips, tmp_path, all_cores):
    own = {"OUTPUT_DIR": str(tmp_path), "NUM_GPUS": "0", "DATA_LOADER.NUM_WORKERS": "1"}
    own |= {"SGS.KERNEL": "linear_mean", "SGS.ORDER": "time"}
    own |= {"TRAIN.MIXED_PRECISION": str(not lacks_convolutions(torch.bfloat16, torch.device("cpu")))}
    pairs = {**SCALED_DOWN, **on_lists(str(real_clips / "weizmann")), **own}
    config = repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml"
    assert main(["--cfg", str(config), *(word for pair in pairs.items() for word in pair)]) == 0
    final = final_of(tmp_path)
    assert final["num_videos"] == 30 and final["active_bins_s2"] < 16
    assert float(final["top1_acc"]) >= 40  # chance is 10
