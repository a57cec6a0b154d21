"""tools/visualize_sgs.py, from a video to a page whose numbers are the record's."""

import json
import re

import numpy as np
import pytest
import torch

from slowfast_atfr.config import load_cfg
from slowfast_atfr.datasets.own_videos import OwnVideos
from slowfast_atfr.engine.inference.visualize_cli import main
from slowfast_atfr.models import build_model
from slowfast_atfr.models.inputs import pathways
from slowfast_atfr.sgs import record
from tests.tiny_sets import small_pairs, write_clip

CONFIG = "configs/Demo/SLOWFAST_R18{}.yaml"


@pytest.fixture
def make_argv(repo, tmp_path):
    def make(kind="_ATFR"):
        config = str(repo / CONFIG.format(kind))
        torch.manual_seed(0)
        model = build_model(load_cfg(config, small_pairs(BN__NORM_TYPE="batchnorm")))
        torch.save({"model_state": model.state_dict()}, tmp_path / "weights.pyth")
        video = write_clip(tmp_path / "clip.mp4", label=1, frames=20)
        places = ["--cfg", config, "--checkpoint", str(tmp_path / "weights.pyth"), "--output", str(tmp_path / "out")]
        return model.eval(), [str(video), *places]

    return make


def test_the_page_has_what_record_sees(repo, make_argv, tmp_path, capsys):
    model, argv = make_argv()
    assert main([*argv, "--start", "0.5", "--opts", *small_pairs()]) == 0
    assert "s2_sgs.pathway1: 8 maps in, " in capsys.readouterr().out
    assert (tmp_path / "out.png").stat().st_size > 10_000
    cfg = load_cfg(str(repo / CONFIG.format("_ATFR")), small_pairs(TEST__DATASET="kinetics"))
    views = OwnVideos(cfg, [argv[0]], 0.5).read_views(0).views
    with torch.no_grad(), record(model) as log:
        model(pathways(views, cfg))
    data = json.loads(re.search(r'id="data">(.*?)</script>', (tmp_path / "out.html").read_text())[1])
    assert (data["start"], data["end"]) == (0.5, 1.3)
    for layer in data["layers"]:
        clip = log[layer["name"]][0]
        np.testing.assert_allclose(layer["similarity"], clip.similarity, rtol=1e-4)
        assert layer["bin"] == clip.bin.tolist() and layer["output"] == clip.output.tolist()
        assert layer["num_active"] == clip.num_active
    assert 0 < data["gflops"] <= data["dense_gflops"]


def test_segments_are_drawn_without_bins(repo, tmp_path):
    config, pairs = str(repo / "configs/Demo/3DRESNET18_ATFR.yaml"), small_pairs(SGS__TARGET_MAPS="[3]")
    torch.save({"model_state": build_model(load_cfg(config, pairs)).state_dict()}, tmp_path / "weights.pyth")
    video = write_clip(tmp_path / "clip.mp4", label=1, frames=20)
    argv = [str(video), "--cfg", config, "--checkpoint", str(tmp_path / "weights.pyth")]
    assert main([*argv, "--output", str(tmp_path / "out"), "--opts", *pairs]) == 0
    page = (tmp_path / "out.html").read_text()
    assert "<title>change " in page and "similarity" not in page.partition('id="data"')[0] and "of the bins" not in page
    assert (tmp_path / "out.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("kind", "more", "words"),
    [("", [], "has no SGS"), ("_ATFR", ["--start", "7"], "ends after 2.00 s"), ("_ATFR", ["gone.mp4"], "gone.mp4")],
)
def test_what_cannot_be_shown_is_told(make_argv, tmp_path, capsys, kind, more, words):
    _, argv = make_argv(kind)
    if more and more[0].endswith(".mp4"):
        argv, more = [str(tmp_path / more[0]), *argv[1:]], []
    assert main([*argv, *more, "--opts", *small_pairs()]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and words in err and err.count("\n") == 1
    assert not (tmp_path / "out.html").exists()
