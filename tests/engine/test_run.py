"""What a run logs of its network before it starts."""

import logging

import pytest
import torch
from torch import nn

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine import test as testing
from slowfast_atfr.engine import train as training
from slowfast_atfr.engine.run import build_network, build_run, enter_phase
from slowfast_atfr.models import MODEL_REGISTRY, build_model
from slowfast_atfr.models.norm import CountedBatchNorm
from slowfast_atfr.utils.distributed import RankInfo

ALONE = RankInfo(0, 1, 0, 1, torch.device("cpu"))
SECOND = RankInfo(1, 2, 1, 2, torch.device("cpu"))


@pytest.fixture(autouse=True)
def info(caplog):
    caplog.set_level(logging.INFO, logger="slowfast_atfr")


def test_the_network_and_its_layers_are_logged_on_request(tiny_cfg, caplog):
    network = build_network(tiny_cfg(LOG_MODEL_INFO=True), ALONE)
    model, params, flops, layers = caplog.messages
    assert model == f"Model:\n{network}"
    assert params == f"Params: {sum(parameter.numel() for parameter in network.parameters()):,}"
    assert flops.endswith("pixels, every bin of SGS active)") and flops.split()[1] in layers.splitlines()[-1].split()
    assert layers.startswith("Layers:\nlayer") and params.split()[1] in layers.splitlines()[-1].split()


def test_the_log_is_that_of_the_first_process_and_of_those_that_ask(tiny_cfg, caplog):
    build_network(tiny_cfg(LOG_MODEL_INFO=True), SECOND)
    build_network(tiny_cfg(LOG_MODEL_INFO=False), ALONE)
    assert not caplog.messages


@pytest.mark.parametrize(
    "mixed, lacks, remedy",
    [
        (True, ("bfloat16", "float16"), "Choose TRAIN.MIXED_PRECISION False"),
        (True, ("bfloat16",), "Choose TRAIN.AMP_DTYPE float16, or TRAIN.MIXED_PRECISION False"),
        (True, ("float16",), None),
        (False, ("bfloat16", "float16"), None),
    ],
)
def test_half_precision_that_would_be_slow_is_told(tiny_cfg, caplog, monkeypatch, mixed, lacks, remedy):
    lacking = {getattr(torch, dtype) for dtype in lacks}
    monkeypatch.setattr(
        "slowfast_atfr.engine.config_warnings.lacks_convolutions", lambda dtype, device: dtype in lacking
    )
    cfg = tiny_cfg(LOG_MODEL_INFO=False, TRAIN__MIXED_PRECISION=mixed, TRAIN__AMP_DTYPE="bfloat16")
    build_network(cfg, SECOND)  # another process of the same machine says nothing
    assert not caplog.messages
    build_network(cfg, ALONE)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (remedy is not None)
    assert all("AMP_DTYPE bfloat16, in which this CPU" in text and text.endswith(remedy) for text in caplog.messages)


def test_the_log_does_not_change_the_weights(tiny_cfg):
    states = []
    for info in (True, False):
        torch.manual_seed(0)
        states.append(build_network(tiny_cfg(LOG_MODEL_INFO=info), ALONE).state_dict())
        states[-1]["next"] = torch.rand(1)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_network_that_cannot_be_summarised_is_trained_all_the_same(tiny_cfg, caplog, monkeypatch):
    class Branches(nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, pathways):
            means = pathways[0].mean((2, 3, 4))
            return self.linear(means if means.sum().item() > 0 else -means)

    monkeypatch.setitem(MODEL_REGISTRY._obj_map, "Branches", Branches)
    cfg = tiny_cfg(LOG_MODEL_INFO=True, MODEL__MODEL_NAME="Branches")
    assert build_network(cfg, ALONE).state_dict().keys() == build_model(cfg).state_dict().keys()
    assert "Branches cannot be summarised on the meta device: RuntimeError: Tensor.item()" in caplog.messages[-1]
    assert "Params: 8" in caplog.messages


LONG_CYCLE = {
    "MULTIGRID__LONG_CYCLE": True,
    "MULTIGRID__LONG_CYCLE_FACTORS": "[[0.5, 1], [1, 1]]",
    "MULTIGRID__BN_BASE_SIZE": 2,
    "MULTIGRID__EPOCH_FACTOR": 1.0,
    "SOLVER__LR_POLICY": "steps_with_relative_lrs",
    "SOLVER__STEPS": "[0, 4]",
    "SOLVER__LRS": "[1, 0.1]",
    "SOLVER__MAX_EPOCH": 6,
    "TRAIN__BATCH_SIZE": 2,
}


def test_a_phase_changes_loaders_and_norms_and_nothing_else(tiny_cfg):
    run, _ = build_run(tiny_cfg(**LONG_CYCLE), ALONE)
    later = enter_phase(run, 5)
    assert enter_phase(run, 0) is run and later is not run
    for name in ("network", "model", "optimizer", "steps", "ema", "loss", "rank", "schedule"):
        assert getattr(later, name) is getattr(run, name), name
    assert (run.cfg.DATA.NUM_FRAMES, later.cfg.DATA.NUM_FRAMES) == (4, 8)
    norms = [module for module in run.network.modules() if isinstance(module, CountedBatchNorm)]
    assert norms and {norm.num_splits for norm in norms} == {1}
    enter_phase(later, 0)
    assert {norm.num_splits for norm in norms} == {2}
    assert next(iter(later.train_loader)).frames.shape[:2] == (2, 8)


def test_batches_and_rates_are_told_at_the_start_of_every_phase(tiny_cfg, caplog):
    run, _ = build_run(tiny_cfg(**LONG_CYCLE, SOLVER__GRAD_ACCUM_STEPS=3), ALONE)
    (told,) = [message for message in caplog.messages if message.startswith("epochs")]
    assert told.startswith(
        "epochs 1 to 3: clips of 4 frames and 32 pixels; 4 clips an iteration: 4 on each of 1 process"
    )
    assert told.endswith("12 a step; batch norm (sub_batchnorm) over 2 clips; learning rate from 0.1")
    caplog.clear()
    enter_phase(run, 5)
    assert "clips of 8 frames" in caplog.text and "batch norm (batchnorm) over 2 clips" in caplog.text


@pytest.mark.parametrize(("module", "begin"), [(training, training.train), (testing, testing.test)])
@pytest.mark.parametrize("allowed", [True, False])
def test_a_run_says_whether_there_is_tf32_before_it_builds_anything(tiny_cfg, monkeypatch, module, begin, allowed):
    class Told(Exception):
        pass

    def tell(*told):
        raise Told(*told)

    monkeypatch.setattr(module, "allow_tf32", tell)
    with pytest.raises(Told) as told:
        begin(tiny_cfg(ALLOW_TF32=allowed), ALONE)
    assert told.value.args == (allowed, ALONE.device)


@pytest.mark.parametrize(
    "config, pairs, warned",
    [
        ("SSv2/SLOWFAST_8x8_R50_ATFR.yaml", [], 1),
        ("SSv2/SLOWFAST_8x8_R50_ATFR.yaml", ["SGS.KERNEL", "linear_mean"], 0),
        ("SSv2/SLOWFAST_8x8_R50_ATFR.yaml", ["SGS.PATHWAYS", "[1]"], 0),
        ("SSv2/SLOWFAST_8x8_R50_ATFR_RECOMMENDED.yaml", [], 0),
        ("SSv2/SLOWFAST_8x8_R50.yaml", ["SGS.BLOCK_SIZE", "[2]"], 0),
        ("Kinetics/SLOW_8x8_R50_ATFR.yaml", ["SGS.BLOCK_SIZE", "[2]"], 1),
        ("Kinetics/SLOW_8x8_R50_ATFR.yaml", [], 0),
    ],
)
def test_blocks_of_2_that_lose_a_frame_are_told(repo, caplog, config, pairs, warned):
    small = ["BN.NORM_TYPE", "batchnorm", "RESNET.WIDTH_PER_GROUP", "16", "NUM_GPUS", "0"]
    build_network(load_cfg(str(repo / "configs" / config), [*small, *pairs]), ALONE)
    assert sum("the frame of larger similarity weighs 0" in text for text in caplog.messages) == warned


@pytest.mark.parametrize(
    "config, pairs, warned",
    [
        ("SSv2/SLOWFAST_8x8_R50_ATFR_RECOMMENDED.yaml", [], 0),
        ("SSv2/SLOWFAST_8x8_R50_ATFR_RECOMMENDED.yaml", ["MODEL.REPLICATE_PAD_STAGES", "[res2]"], 1),
        ("Kinetics/X3D_S_ATFR.yaml", ["SGS.GROUPING", "segments"], 1),
        ("Kinetics/X3D_S_ATFR.yaml", [], 0),
        ("Kinetics/SLOW_8x8_R50_ATFR.yaml", ["SGS.GROUPING", "segments"], 0),  # no kernels in time before SGS
    ],
)
def test_zeros_beyond_the_ends_of_clips_that_are_cut_into_segments_are_told(repo, caplog, config, pairs, warned):
    small = ["BN.NORM_TYPE", "batchnorm", "RESNET.WIDTH_PER_GROUP", "16", "NUM_GPUS", "0"]
    build_network(load_cfg(str(repo / "configs" / config), [*small, *pairs]), ALONE)
    assert sum("pad clips with zeros in time" in text for text in caplog.messages) == warned


@pytest.mark.parametrize("reverse, bgr, warned", [(False, False, 0), (True, False, 1), (True, True, 0)])
def test_pyslowfasts_key_for_bgr_frames_is_answered(tiny_cfg, caplog, reverse, bgr, warned):
    keys = {"DATA__REVERSE_INPUT_CHANNEL": reverse, "DATA__BGR_INPUT": bgr, "LOG_MODEL_INFO": False}
    build_network(tiny_cfg(**keys), ALONE)
    assert sum("the key has no effect" in text for text in caplog.messages) == warned
