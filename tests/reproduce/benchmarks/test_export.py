"""The benchmark of exported files: its clips, its table, and that both tell what was measured."""

import pytest
import torch

from slowfast_atfr.analysis.timing import table
from slowfast_atfr.config import load_cfg
from slowfast_atfr.reproduce.benchmarks.export import ExportFigure, benchmark_export, measure, some_clips
from slowfast_atfr.utils.errors import RunError

TINY = ("DATA.TEST_CROP_SIZE", "32", "DATA.TRAIN_CROP_SIZE", "32", "RESNET.WIDTH_PER_GROUP", "16")


def test_clips_are_static_mixed_and_moving_and_no_two_are_alike():
    cfg = load_cfg("Kinetics/SLOWFAST_8x8_R50", [*TINY, "DATA.NUM_FRAMES", "16"])
    clips = some_clips(cfg, 20)
    assert len(clips) == 20
    changes = {name: int((fast.diff(dim=2).abs().amax((0, 1, 3, 4)) > 0).sum()) for name, (_, fast) in clips.items()}
    assert (changes["static"], changes["mixed"], changes["moving"]) == (0, 7, 15)
    assert len({fast.numpy().tobytes() for _, fast in clips.values()}) == 20
    assert all(slow.shape == (1, 3, 4, 32, 32) and fast.shape == (1, 3, 16, 32, 32) for slow, fast in clips.values())


def test_a_row_has_times_ratios_and_differences():
    seconds = {"PyTorch": (0.2, 0.1, 0.4), "ONNX Runtime": (0.1, 0.05, 0.1)}
    lines = table([ExportFigure("net", "static", "1 of 8", seconds, {"ONNX Runtime": 2e-7}, 20)]).splitlines()
    assert lines[2] == "| net | static | 1 of 8 | 200 ms | 100 ms, 0.50 | - | 2e-07 on 20 clips |"


def test_another_device_is_refused(repo):
    with pytest.raises(RunError, match="--device cuda"):
        benchmark_export(repo / "configs", rounds=1, device=torch.device("cuda"))


@pytest.mark.slow
def test_a_static_clip_has_fewer_maps_than_a_moving_one(repo):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    config = repo / "configs/Mini_Kinetics/3DRESNET18_ATFR.yaml"
    pairs = (*TINY, "DATA.NUM_FRAMES", "16", "SGS.SIMILARITY", "path", "MODEL.REPLICATE_PAD_STAGES", "[conv1,res2]")
    figures = measure("net", config, pairs, rounds=2, device=torch.device("cpu"))
    assert [figure.clip for figure in figures] == ["static", "mixed", "moving"]
    static, _, moving = (int(figure.maps.split()[0]) for figure in figures)
    assert static == 1 < moving
    for figure in figures:
        assert max(figure.differences.values()) <= 1e-4 and len(figure.seconds["ONNX Runtime"]) == 2
