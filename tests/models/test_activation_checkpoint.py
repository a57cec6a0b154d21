"""Checkpointed stages give bit for bit what they give without, and keep less for it."""

import itertools

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from slowfast_atfr.analysis import count_macs
from slowfast_atfr.analysis.memory import count_saved
from slowfast_atfr.models import build_model
from slowfast_atfr.models.activation_checkpoint import run_checkpointed, unchanged_buffers
from slowfast_atfr.sgs import count_active, record
from tests.processes import run_in_processes

ON = ["MODEL.ACT_CHECKPOINT", "True"]
FIXED = ["RESNET.ZERO_INIT_FINAL_BN", "False", "MODEL.DROPOUT_RATE", "0.0"]
NETWORKS = [
    "Kinetics/SLOWFAST_8x8_R50.yaml",
    "Kinetics/SLOWFAST_8x8_R50_ATFR.yaml",
    "Kinetics/C2D_NLN_8x8_R50_ATFR.yaml",
    "Kinetics/X3D_S_ATFR.yaml",
    "Mini_Kinetics/3DRESNET18_ATFR.yaml",
]
SPLITS = ["BN.NORM_TYPE", "sub_batchnorm", "BN.NUM_SPLITS", "2"]
SYNC = ["BN.NORM_TYPE", "sync_batchnorm", "BN.NUM_SYNC_DEVICES", "2", "DATA.NUM_FRAMES", "8"]


def trained(cfg, inputs, *, amp=False):
    """Scores, gradients and buffers of two steps in a row, and the bytes that the second one keeps."""
    torch.manual_seed(0)
    model = build_model(cfg).train()
    called = DistributedDataParallel(model) if dist.is_initialized() else model
    out = {}
    for step in range(2):
        with count_saved(model) as saved, torch.autocast("cpu", torch.bfloat16, enabled=amp):
            scores = called(inputs)
            loss = nn.functional.cross_entropy(scores, torch.arange(len(scores)))
        out[f"scores {step}"] = scores.detach()
        loss.backward()
    out |= {f"grad of {name}": parameter.grad for name, parameter in model.named_parameters()}
    return out | dict(model.named_buffers()), saved.total()


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert not [name for name, value in ours.items() if not torch.equal(value, theirs[name])]


QUICK = [*((config, False) for config in NETWORKS[1:3]), *((config, True) for config in NETWORKS[3:])]


@pytest.mark.parametrize(
    ("config", "amp"),
    [
        pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow)
        for case in itertools.product(NETWORKS, [False, True])
    ],
)
def test_scores_gradients_and_statistics_are_the_same_bit_for_bit(thin_cfg, to_pathways, moving_clips, config, amp):
    off, on = (thin_cfg(config, *FIXED, *pairs) for pairs in ([], ON))
    inputs = to_pathways(off, moving_clips(3, off.DATA.NUM_FRAMES))
    (plain, kept), (checkpointed, kept_less) = (trained(cfg, inputs, amp=amp) for cfg in (off, on))
    assert_same(plain, checkpointed)
    assert all(value == 2 for name, value in checkpointed.items() if name.endswith("num_batches_tracked"))
    assert kept_less < 0.75 * kept


def test_stages_that_repeat_the_ends_of_clips(thin_cfg, to_pathways, moving_clips):
    copies = ["MODEL.REPLICATE_PAD_STAGES", "[conv1, res2]"]
    off, on = (thin_cfg("Kinetics/X3D_S_ATFR.yaml", *FIXED, *copies, *pairs) for pairs in ([], ON))
    inputs = to_pathways(off, moving_clips(3, off.DATA.NUM_FRAMES))
    assert_same(trained(off, inputs)[0], trained(on, inputs)[0])


def test_norms_over_parts_of_a_batch(thin_cfg, to_pathways, moving_clips):
    off, on = (thin_cfg("Kinetics/X3D_S_ATFR.yaml", *FIXED, *SPLITS, *pairs) for pairs in ([], ON))
    inputs = to_pathways(off, moving_clips(4, off.DATA.NUM_FRAMES))
    assert_same(trained(off, inputs)[0], trained(on, inputs)[0])


def _in_two_processes(rank, off, on, clips):
    inputs = [pathway[2 * rank : 2 * rank + 2] for pathway in clips]
    plain, checkpointed = (trained(cfg, inputs)[0] for cfg in (off, on))
    assert_same(plain, checkpointed)
    mean = checkpointed["s4.pathway0_res0.branch2.b_bn.running_mean"]
    both = [torch.empty_like(mean) for _ in range(2)]
    dist.all_gather(both, mean)
    assert torch.equal(*both) and mean.any()


def test_norms_over_two_processes(thin_cfg, to_pathways, moving_clips, tmp_path):
    name = "Kinetics/SLOWFAST_8x8_R50_ATFR.yaml"
    off, on = (thin_cfg(name, *FIXED, *SYNC, *pairs) for pairs in ([], ON))
    run_in_processes(_in_two_processes, tmp_path, off, on, to_pathways(off, moving_clips(4, off.DATA.NUM_FRAMES)))


def test_each_stage_that_is_named_keeps_less(thin_cfg, to_pathways, moving_clips):
    cfg = thin_cfg("Mini_Kinetics/3DRESNET18.yaml")
    inputs = to_pathways(cfg, moving_clips(2, cfg.DATA.NUM_FRAMES))
    kept = [trained(cfg, inputs)[1]]
    for count in range(1, 5):
        stages = f"[{', '.join(f'res{index}' for index in range(2, 2 + count))}]"
        pairs = [*ON, "MODEL.ACT_CHECKPOINT_STAGES", stages]
        kept.append(trained(thin_cfg("Mini_Kinetics/3DRESNET18.yaml", *pairs), inputs)[1])
    assert all(after < before for before, after in zip(kept, kept[1:], strict=False))


def test_what_is_counted_is_counted_once(thin_cfg, to_pathways, moving_clips):
    counts = []
    for pairs in ([], ON):
        torch.manual_seed(0)
        cfg = thin_cfg("Kinetics/C2D_NLN_8x8_R50_ATFR.yaml", *pairs)
        model = build_model(cfg).train()
        inputs = to_pathways(cfg, moving_clips(3, cfg.DATA.NUM_FRAMES))
        with count_macs(model) as macs, count_active(model) as active, record(model) as log:
            for _ in range(2):
                model(inputs).sum().backward()
            counts.append(
                (macs.read_and_reset(), active.read_and_reset()["s2_sgs.pathway0"], len(log["s2_sgs.pathway0"]))
            )
    np.testing.assert_array_equal(counts[0][0], counts[1][0])
    assert counts[0][1].shape == (3,) and [count[2] for count in counts] == [6, 6]


def test_without_gradients_a_stage_runs_as_ever(thin_cfg, to_pathways, moving_clips, monkeypatch):
    cfg = thin_cfg("Kinetics/X3D_S_ATFR.yaml", *ON)
    model, inputs = build_model(cfg).eval(), to_pathways(cfg, moving_clips(2, cfg.DATA.NUM_FRAMES))
    monkeypatch.setattr("slowfast_atfr.models.video_resnet.run_checkpointed", None)
    with torch.inference_mode():
        assert model(inputs).shape == (2, 7)


def test_the_random_state_of_the_second_run_is_that_of_the_first():
    layer = nn.Sequential(nn.Linear(50, 50), nn.Dropout(0.5), nn.Tanh())
    x = torch.randn(4, 50)
    grads = []
    for run in (lambda: layer(x), lambda: run_checkpointed(layer, x)):
        torch.manual_seed(1)
        grads.append(torch.autograd.grad(run().sum(), layer[0].weight)[0])
    assert torch.equal(*grads)


def test_buffers_come_back_after_an_error_too():
    norm = nn.BatchNorm1d(3)
    before = {name: (value, value.clone()) for name, value in norm.named_buffers()}
    with pytest.raises(KeyError), unchanged_buffers(norm):
        norm(torch.randn(4, 3))
        assert norm.num_batches_tracked == 1
        raise KeyError
    assert all(buffer is norm.get_buffer(n) and torch.equal(buffer, value) for n, (buffer, value) in before.items())
